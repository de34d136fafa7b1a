using EfEnvelope.Cli;
using EfEnvelope.JobProcess.Faults;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.JobProcess.Oracle;
using EfEnvelope.KeyManagement;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace EfEnvelope.Tests.Reencryption;

/// <summary>The entities.</summary>
public abstract partial class JobBadInputTests
{
    private sealed class Kept
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Secret { get; set; }
    }

    private sealed class Logged
    {
        [Encrypted]
        public string Secret { get; set; } = "";
    }
}
