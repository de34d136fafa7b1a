using EfEnvelope.Census;
using EfEnvelope.Storage.Ring;

namespace EfEnvelope;

/// <summary>Which columns of a database hold cells of the ring.</summary>
public sealed partial class EnvelopeKeys
{
    /// <summary>The encrypted columns that the ring lists for the context's database, whichever context registered them. A context registers its own with its first save or re-encryption.</summary>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <returns>The columns, by table and name.</returns>
    /// <exception cref="EnvelopeConfigurationException">The ring's tables are missing.</exception>
    /// <exception cref="KeyUnavailableException">The ring cannot be reached. Nothing was changed; retry.</exception>
    public async Task<IReadOnlyList<RegisteredColumn>> ListColumnsAsync(CancellationToken cancellationToken = default)
    {
        var (columns, _, _) = await ColumnRegistry.FindAsync(_session, null, cancellationToken).ConfigureAwait(false);
        var missing = await CensusTaker.FindMissingAsync(_session, columns, cancellationToken).ConfigureAwait(false);
        return [.. columns.Where(c => !c.IsForgotten || !missing.Contains((c.Table, c.Column))).Select(c => new RegisteredColumn(c.Table, c.Column, !missing.Contains((c.Table, c.Column))))];
    }

    /// <summary>
    /// Takes a column that the database does not have (<see cref="EnvelopeCensus.MissingColumns"/>) off the ring's list, so that the end of a key can be proven: one that was dropped, or whose table was renamed or moved and is registered
    /// under its new name. Where the database has it again, it is counted and listed again. Where its cells live on somewhere that no census counts, they are lost when the key that they name is destroyed.
    /// </summary>
    /// <param name="table">As <see cref="ListColumnsAsync"/> names it.</param>
    /// <param name="column">As <see cref="ListColumnsAsync"/> names it.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <exception cref="EnvelopeConfigurationException">The database has it, the ring does not list it, or the context has an open transaction that the ring would share.</exception>
    public async Task ForgetColumnAsync(string table, string column, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(table);
        ArgumentException.ThrowIfNullOrWhiteSpace(column);
        var (columns, _, _) = await ColumnRegistry.FindAsync(_session, null, cancellationToken).ConfigureAwait(false);
        var listed = columns.Where(c => c.Table == table && c.Column == column).ToList();
        if (listed.Count > 0 && !(await CensusTaker.FindMissingAsync(_session, listed, cancellationToken).ConfigureAwait(false)).Contains((table, column)))
        {
            throw new EnvelopeConfigurationException($"The database has column {table}.{column}: a census counts it, and it is not forgotten. Nothing was changed.");
        }

        if (listed is not [{ IsForgotten: false } known]
            || !await ColumnRegistry.ForgetAsync(_session, await DataDatabase.NameAsync(_session, cancellationToken).ConfigureAwait(false), (table, column, known.IsDocument), cancellationToken).ConfigureAwait(false))
        {
            throw new EnvelopeConfigurationException($"The ring lists no column {table}.{column} in this database; `columns list` names those it does. Nothing was changed.");
        }

        _session.Runtime.Audit.ColumnForgotten(table, column);
        await _session.Ring.ConfirmAsync(_session.OpenStore(), cancellationToken).ConfigureAwait(false);
    }
}
