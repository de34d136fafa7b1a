using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace EfEnvelope.JobProcess.Load;

/// <summary>What all contexts of the tests have in common.</summary>
public static class TestOptions
{
    /// <summary>One process tries every provider, strategy, replaced service and proxy there is: each is a service provider of EF's own, and EF warns by an exception when there are more than twenty.</summary>
    public static DbContextOptionsBuilder AmongMany(this DbContextOptionsBuilder builder)
        => builder.ConfigureWarnings(warnings => warnings.Ignore(CoreEventId.ManyServiceProvidersCreatedWarning));
}
