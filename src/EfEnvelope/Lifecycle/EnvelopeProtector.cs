using System.Linq.Expressions;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Metadata;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope;

/// <summary>
/// Seals and opens values of encrypted properties outside of EF's queries: for Dapper, bulk copy, exports and tests. The same keys, bindings and checks as the columns. Not thread safe, like the context.
/// </summary>
/// <remarks>Serves scalar properties that are not row-bound and not of row-keyed entities, in their stored form: bytes, or armour text.</remarks>
public sealed class EnvelopeProtector
{
    private readonly EnvelopeSession _session;
    private readonly TransientKeys _transient = new();

    /// <summary>A protector for a context that uses envelope encryption. No I/O.</summary>
    /// <param name="context">The context.</param>
    public EnvelopeProtector(DbContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        _session = EnvelopeSession.Of(context);
    }

    /// <summary>Seals a value as its column would hold it.</summary>
    /// <typeparam name="TEntity">The entity.</typeparam>
    /// <typeparam name="TValue">The property's type, or what its own conversion yields.</typeparam>
    /// <param name="property">The encrypted property.</param>
    /// <param name="value">The value.</param>
    /// <param name="scope">Whose key seals it; must be of the kind that the entity declares.</param>
    /// <param name="cancellationToken">Cancels loading the key.</param>
    /// <returns>The envelope; <see cref="Arm"/> makes its text form.</returns>
    /// <exception cref="EnvelopeConfigurationException">The property is not encrypted, or the scope is of another kind.</exception>
    public async Task<byte[]> SealAsync<TEntity, TValue>(
        Expression<Func<TEntity, TValue>> property, TValue value, EnvelopeScope scope, CancellationToken cancellationToken = default)
        where TEntity : class
        where TValue : notnull
    {
        var column = Find(property);
        if (!column.AcceptsScope(scope.Value))
        {
            throw new EnvelopeConfigurationException($"Column '{column.ColumnId}' does not take keys of scope kind '{scope.Value.Split(':')[0]}'. Nothing was sealed.") { ColumnId = column.ColumnId };
        }

        using var pins = new KeyPins();
        var key = await _session.Ring.GetForSealingAsync(scope.Value, _session.OpenStore(), _transient, pins, cancellationToken).ConfigureAwait(false);
        return EnvelopeCodec.Seal(key.Key, key.BindingFor(column.ColumnId), value, column.Padding);
    }

    /// <summary>Opens an envelope of a column.</summary>
    /// <typeparam name="TEntity">The entity.</typeparam>
    /// <typeparam name="TValue">The property's type, or what its own conversion yields.</typeparam>
    /// <param name="property">The encrypted property.</param>
    /// <param name="envelope">The stored bytes.</param>
    /// <param name="expected">Whose value it must be: what the row says. Null checks the kind of scope only.</param>
    /// <param name="cancellationToken">Cancels loading the key.</param>
    /// <exception cref="EnvelopeRefusedException">It is not a genuine envelope of this column and scope.</exception>
    /// <exception cref="KeyRevokedException">Its key is revoked, or scheduled for destruction.</exception>
    /// <exception cref="KeyDestroyedException">Its key is destroyed.</exception>
    public async Task<TValue> OpenAsync<TEntity, TValue>(
        Expression<Func<TEntity, TValue>> property, byte[] envelope, EnvelopeScope? expected = null, CancellationToken cancellationToken = default)
        where TEntity : class
    {
        ArgumentNullException.ThrowIfNull(envelope);
        var column = Find(property);
        if (!EnvelopeCodec.TryReadKeyId(envelope, out var id))
        {
            throw new EnvelopeRefusedException($"A value of column '{column.ColumnId}' is not an envelope. Nothing of it is returned.") { ColumnId = column.ColumnId };
        }

        using var pins = new KeyPins();
        await _session.Ring.LoadForOpeningAsync([id], _session.OpenStore(), _transient, pins, cancellationToken).ConfigureAwait(false);
        var key = pins.TryGet(id, out var pinned) ? pinned : _session.Ring.GetForOpening(id, _transient);
        if (!column.AcceptsScope(key.Scope) || (expected is { } scope && scope.Value != key.Scope))
        {
            throw new EnvelopeRefusedException($"A value of column '{column.ColumnId}' (key {id}) belongs to another scope than is expected. Nothing of it is returned.") { ColumnId = column.ColumnId, KeyId = id };
        }

        return EnvelopeCodec.Open<TValue>(key.Key, key.BindingFor(column.ColumnId), envelope);
    }

    /// <summary>The text form of an envelope, for armoured columns and JSON.</summary>
    /// <param name="envelope">The envelope.</param>
    public static string Arm(byte[] envelope) => TextArmor.Encode(envelope);

    /// <summary>The envelope of a text form.</summary>
    /// <param name="armor">The armour.</param>
    /// <exception cref="EnvelopeRefusedException">It is not canonical armour.</exception>
    public static byte[] Disarm(string armor) => TextArmor.Decode(armor);

    private ColumnDeclaration Find<TEntity, TValue>(Expression<Func<TEntity, TValue>> property)
    {
        ArgumentNullException.ThrowIfNull(property);
        var name = (property.Body as MemberExpression)?.Member.Name;
        var column = name is null ? null : _session.Context.Model.FindEntityType(typeof(TEntity))?.FindProperty(name)?.FindEnvelope();
        return column switch
        {
            null => throw new EnvelopeConfigurationException($"'{property}' is no encrypted property of the model."),
            { PerRow: true } or { RowBound: true } => throw new EnvelopeConfigurationException($"Column '{column.ColumnId}' is bound to its row; use EF to seal and open it.") { ColumnId = column.ColumnId },
            _ => column,
        };
    }
}
