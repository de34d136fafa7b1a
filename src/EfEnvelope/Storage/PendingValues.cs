using System.Collections;
using System.Data.Common;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Metadata;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Storage;

/// <summary>Replaces the placeholders of a command's parameters by envelopes, when their keys are there.</summary>
internal static class PendingValues
{
    private const int MaxAttempts = 5;

    /// <param name="command">The command.</param>
    /// <param name="frame">What is known of it.</param>
    /// <param name="session">The context's.</param>
    /// <param name="statement">Takes the keys; made by the caller on its own thread.</param>
    /// <param name="connection">Where the command is to have a transaction of its own; null where it runs in another, or writes nothing.</param>
    /// <param name="cancellationToken">Cancels it.</param>
    public static async Task SealAsync(
        DbCommand command, CommandFrame frame, EnvelopeSession session, SealedStatement statement, IRelationalConnection? connection, CancellationToken cancellationToken)
    {
        var store = session.OpenStore();
        var written = frame.Pending.Select(p => p.Column.ColumnId).Distinct(StringComparer.Ordinal).SelectMany(id => ColumnRegistry.TablesOf(session.Context.Model, id));
        await ColumnRegistry.CheckAsync(session, store, written, cancellationToken).ConfigureAwait(false);
        Dictionary<object, object> sealedValues;
        Dictionary<string, string> armor;
        var isBegun = false;
        for (var attempt = 0; ; attempt++)
        {
            (sealedValues, armor) = await SealValuesAsync(frame, session, statement.Lease, store, cancellationToken).ConfigureAwait(false);

            // Not before the keys are had: a statement that gets none leaves nothing behind.
            await ColumnRegistry.EnsureRegisteredAsync(session, store, written, cancellationToken).ConfigureAwait(false);
            if (connection is not null && !isBegun)
            {
                await statement.BeginAsync(command, connection, cancellationToken).ConfigureAwait(false);
                (isBegun, store) = (true, session.OpenStore());
            }

            if (await statement.FindRetiredAsync(store, cancellationToken).ConfigureAwait(false) is not { } retired)
            {
                break;
            }

            if (attempt == MaxAttempts)
            {
                throw new KeyUnavailableException($"Key {retired.Id}, and those that followed it, were retired while they sealed a statement's values. Nothing was sent. Retry.") { KeyId = retired.Id };
            }

            statement.Lease.Renew();
        }

        var replaced = 0;
        foreach (DbParameter parameter in command.Parameters)
        {
            parameter.Value = Replace(parameter.Value, sealedValues, armor, ref replaced);
        }

        if (replaced < frame.Pending.Count)
        {
            var columnId = frame.Pending[0].Column.ColumnId;
            throw new EnvelopeQueryException(
                $"Column '{columnId}': a value stands in a parameter where it cannot be sealed, such as a whole JSON document. Nothing was sent. Load the rows and use SaveChanges instead.") { ColumnId = columnId };
        }
    }

    private static async Task<(Dictionary<object, object> Values, Dictionary<string, string> Armor)> SealValuesAsync(
        CommandFrame frame, EnvelopeSession session, SealingLease lease, IKeyRingStore store, CancellationToken cancellationToken)
    {
        var sealedValues = new Dictionary<object, object>(ReferenceEqualityComparer.Instance);
        var armor = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var pending in frame.Pending)
        {
            var scope = Scope(pending.Column, frame, session);
            var key = await session.Ring.GetForSealingAsync(scope, store, session.TransientKeys, lease.Keys, cancellationToken).ConfigureAwait(false);
            var envelope = pending.Seal(new SealingFrame(key, rowId: null));
            sealedValues[pending.Placeholder] = envelope;
            armor[Convert.ToHexString(pending.Placeholder)] = TextArmor.Encode(envelope);
        }

        return (sealedValues, armor);
    }

    private static object? Replace(object? value, Dictionary<object, object> sealedValues, Dictionary<string, string> armor, ref int replaced)
    {
        switch (value)
        {
            case byte[] bytes when sealedValues.TryGetValue(bytes, out var envelope):
                replaced++;
                return envelope;
            case string text when armor.TryGetValue(text, out var armored):
                replaced++;
                return armored;
            case IList list and not byte[]:
                for (var i = 0; i < list.Count; i++)
                {
                    var element = list[i];
                    var other = Replace(element, sealedValues, armor, ref replaced);
                    if (!ReferenceEquals(element, other))
                    {
                        list[i] = other;
                    }
                }

                return list;
            default:
                return value;
        }
    }

    private static string Scope(ColumnDeclaration column, CommandFrame frame, EnvelopeSession session)
    {
        if (column.IsAmbient)
        {
            return session.AmbientScope ?? throw new MissingScopeException(
                $"Column '{column.ColumnId}' takes its data key from the context's tenant, but none is set. Nothing was sent.") { ColumnId = column.ColumnId };
        }

        return column is { Parent: DeclaredScope.Global, PerRow: false }
            ? KeyScope.Global
            : frame.Scope ?? throw new EnvelopeQueryException(
                $"Column '{column.ColumnId}': the statement does not say whose row it writes. Filter by one value of the property that chooses the data key, or load the rows and use SaveChanges. Nothing was sent.") { ColumnId = column.ColumnId };
    }
}
