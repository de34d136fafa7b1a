using EfEnvelope.Storage.Ring;

namespace EfEnvelope;

/// <summary>A ring for several databases: which ones hold encrypted columns.</summary>
public sealed partial class EnvelopeKeys
{
    /// <summary>The databases whose encrypted columns the ring lists. One registers itself with its first save or re-encryption.</summary>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <returns>The databases, by name.</returns>
    /// <exception cref="EnvelopeConfigurationException">The ring's tables are missing.</exception>
    /// <exception cref="KeyUnavailableException">The ring cannot be reached. Nothing was changed; retry.</exception>
    public async Task<IReadOnlyList<RegisteredDatabase>> ListDatabasesAsync(CancellationToken cancellationToken = default)
    {
        var own = await DataDatabase.NameAsync(_session, cancellationToken).ConfigureAwait(false);
        return [.. (await ColumnRegistry.ListAsync(_session, cancellationToken).ConfigureAwait(false))
            .GroupBy(c => c.Database, StringComparer.Ordinal).OrderBy(g => g.Key, StringComparer.Ordinal)
            .Select(g => new RegisteredDatabase(DataDatabase.Show(g.Key), g.Count(), g.Key == own))];
    }

    /// <summary>
    /// Takes another database off the ring's list that is gone, so that the end of a key can be proven here. One that lives is not to be forgotten: it withholds no proof once its own job, or
    /// <see cref="ReportCensusAsync"/> there, has proven that no cell of it names a retired key, until the next is retired. Readers never register it again, saves do when they have confirmed the ring again. A database
    /// that is forgotten while its cells name a key loses them when that key is destroyed.
    /// </summary>
    /// <param name="name">As <see cref="ListDatabasesAsync"/> names it.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <exception cref="EnvelopeConfigurationException">The context is connected to it, the ring does not list it, or the context has an open transaction that the ring would share.</exception>
    public async Task ForgetDatabaseAsync(string name, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        var database = DataDatabase.Parse(name);
        if (database == await DataDatabase.NameAsync(_session, cancellationToken).ConfigureAwait(false))
        {
            throw new EnvelopeConfigurationException($"The context is connected to database {name}: its census counts it, and it is not forgotten. Nothing was changed.");
        }

        if (!await ColumnRegistry.ForgetAsync(_session, database, cancellationToken).ConfigureAwait(false))
        {
            throw new EnvelopeConfigurationException($"The ring lists no database {name}; `databases list` names those it does. Nothing was changed.");
        }

        _session.Runtime.Audit.DatabaseForgotten(name);
        await _session.Ring.ConfirmAsync(_session.OpenStore(), cancellationToken).ConfigureAwait(false);
    }
}
