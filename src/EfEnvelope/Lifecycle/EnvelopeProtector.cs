using System.Linq.Expressions;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope;

/// <summary>
/// Seals and opens values of encrypted properties outside of EF's queries: for Dapper, bulk copy, exports and tests. The same keys, bindings and checks as the columns. Not thread safe, like the context.
/// </summary>
/// <remarks>
/// Serves scalar properties of entities, of their complex properties and of owned references, in their stored form: bytes, or armour text. Columns that are bound to their row need an
/// <see cref="EnvelopeRow"/>. Keeps no key: what it makes inside the context's open transaction goes with the context's own.
/// </remarks>
public sealed class EnvelopeProtector
{
    private readonly EnvelopeSession _session;

    /// <summary>A protector for a context that uses envelope encryption. No I/O.</summary>
    /// <param name="context">The context.</param>
    public EnvelopeProtector(DbContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        _session = EnvelopeSession.Of(context);
    }

    /// <summary>Seals a value as its column would hold it. Registers the context's columns with the ring as a save does, so that every census counts them.</summary>
    /// <typeparam name="TEntity">The entity.</typeparam>
    /// <typeparam name="TValue">The property's type, or what its own conversion yields.</typeparam>
    /// <param name="property">The encrypted property, such as <c>c => c.Name</c> or <c>c => c.Home.Street</c>.</param>
    /// <param name="value">The value.</param>
    /// <param name="scope">Whose key seals it; must be of the kind that the entity declares. Of a row with keys of its own: the row's tenant or subject, or global.</param>
    /// <param name="row">The row that the value will stand in, for columns that are bound to their row; null, the default, elsewhere.</param>
    /// <param name="cancellationToken">Cancels loading the key.</param>
    /// <returns>The envelope; <see cref="Arm"/> makes its text form.</returns>
    /// <exception cref="EnvelopeConfigurationException">The property is not encrypted, the scope is of another kind, the column needs a row and none is given, or the ring lists the column with another column id. Nothing was sealed.</exception>
    /// <exception cref="KeyNotFoundInRingException">The row has no key in the ring: it is not saved yet, or has another tenant or subject.</exception>
    public async Task<byte[]> SealAsync<TEntity, TValue>(
        Expression<Func<TEntity, TValue>> property, TValue value, EnvelopeScope scope, EnvelopeRow? row = null, CancellationToken cancellationToken = default)
        where TEntity : class
        where TValue : notnull
    {
        ArgumentNullException.ThrowIfNull(property);
        var column = ProtectedColumn.Find(_session.Context.Model, property);
        var sealing = column.SealingScope(scope, row);
        _session.TransientKeys.ForgetEnded();
        using var pins = new KeyPins();
        var store = _session.OpenStore();
        var written = ColumnRegistry.TablesOf(_session.Context.Model, column.Declaration.ColumnId);
        await ColumnRegistry.CheckAsync(_session, store, written, cancellationToken).ConfigureAwait(false);
        var key = await _session.Ring.GetForSealingAsync(sealing, store, _session.TransientKeys, pins, cancellationToken).ConfigureAwait(false);

        // Whoever sends it, every census must know of its column by then.
        await ColumnRegistry.EnsureRegisteredAsync(_session, store, written, cancellationToken).ConfigureAwait(false);
        return column.Seal(key, row, value);
    }

    /// <summary>Opens an envelope of a column.</summary>
    /// <typeparam name="TEntity">The entity.</typeparam>
    /// <typeparam name="TValue">The property's type, or what its own conversion yields.</typeparam>
    /// <param name="property">The encrypted property, such as <c>c => c.Name</c> or <c>c => c.Home.Street</c>.</param>
    /// <param name="envelope">The stored bytes.</param>
    /// <param name="expected">Whose value it must be: what the row says. Null checks the kind of scope only.</param>
    /// <param name="row">The row that the value stands in, for columns that are bound to their row; null, the default, elsewhere.</param>
    /// <param name="cancellationToken">Cancels loading the key.</param>
    /// <exception cref="EnvelopeConfigurationException">The property is not encrypted, or the column needs a row and none is given.</exception>
    /// <exception cref="EnvelopeRefusedException">It is not a genuine envelope of this column, scope and row.</exception>
    /// <exception cref="KeyRevokedException">Its key is revoked, or scheduled for destruction.</exception>
    /// <exception cref="KeyDestroyedException">Its key is destroyed.</exception>
    public async Task<TValue> OpenAsync<TEntity, TValue>(
        Expression<Func<TEntity, TValue>> property, byte[] envelope, EnvelopeScope? expected = null, EnvelopeRow? row = null, CancellationToken cancellationToken = default)
        where TEntity : class
    {
        ArgumentNullException.ThrowIfNull(property);
        ArgumentNullException.ThrowIfNull(envelope);
        var column = ProtectedColumn.Find(_session.Context.Model, property);
        var columnId = column.Declaration.ColumnId;
        if (!EnvelopeCodec.TryReadKeyId(envelope, out var id))
        {
            throw new EnvelopeRefusedException($"A value of column '{columnId}' is not an envelope. Nothing of it is returned.") { ColumnId = columnId };
        }

        _session.TransientKeys.ForgetEnded();
        using var pins = new KeyPins();
        await _session.Ring.LoadForOpeningAsync([id], _session.OpenStore(), _session.TransientKeys, pins, cancellationToken).ConfigureAwait(false);
        var key = pins.TryGet(id, out var pinned) ? pinned : _session.Ring.GetForOpening(id, _session.TransientKeys);
        if (!column.Accepts(key.Scope, expected, row))
        {
            throw new EnvelopeRefusedException($"A value of column '{columnId}' (key {id}) belongs to another scope or row than is expected. Nothing of it is returned.") { ColumnId = columnId, KeyId = id };
        }

        return column.Open<TValue>(key, row, envelope);
    }

    /// <summary>The text form of an envelope, for armoured columns and JSON.</summary>
    /// <param name="envelope">The envelope.</param>
    public static string Arm(byte[] envelope) => TextArmor.Encode(envelope);

    /// <summary>The envelope of a text form.</summary>
    /// <param name="armor">The armour.</param>
    /// <exception cref="EnvelopeRefusedException">It is not canonical armour.</exception>
    public static byte[] Disarm(string armor) => TextArmor.Decode(armor);
}
