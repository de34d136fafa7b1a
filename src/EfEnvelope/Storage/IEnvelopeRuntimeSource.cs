using System.Data.Common;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Storage;

/// <summary>What the options extension gives to the services of a context.</summary>
internal interface IEnvelopeRuntimeSource
{
    /// <summary>The process-wide runtime of this configuration; services that the options leave open come from the application's container.</summary>
    EnvelopeRuntime GetRuntime(IServiceProvider? applicationServices);

    /// <summary>Refuses a model that leaves declared members in the clear, or seals otherwise than the options say. Cheap for one that passed before.</summary>
    /// <exception cref="EnvelopeConfigurationException">It is no model for these options.</exception>
    void Require(IModel model);

    /// <summary>The ambient tenant of a context; null where the options name none.</summary>
    Func<DbContext, object?>? AmbientTenant { get; }

    /// <summary>Makes connections to a ring that stands in a database of its own; null where it stands with the data.</summary>
    Func<DbConnection>? RingConnection { get; }
}
