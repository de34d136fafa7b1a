using EfEnvelope.Diagnostics;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore.Storage.Json;

namespace EfEnvelope.Storage;

/// <summary>
/// What the value converters of encrypted properties call. Public because the code of a compiled model calls them; not meant for application code, which uses
/// <see cref="EnvelopeProtector"/>. Thread safe; no I/O: keys are awaited before and after by the command and the reader. Outside a command or
/// reader of a context with <c>UseEnvelopeEncryption()</c> they throw <see cref="EnvelopeConfigurationException"/>, so that nothing is ever stored in the clear.
/// </summary>
public static class EnvelopeConverterFunctions
{
    /// <summary>Seals a value of the column that the token declares.</summary>
    public static byte[] Seal<T>(T value, string token)
    {
        var column = ColumnDeclaration.Of(token);
        if (SealingFrame.Current is { } row)
        {
            return row.IsComparing ? PendingValue.NewPlaceholder() : EnvelopeCodec.Seal(row.Key.Key, row.BindingFor(column), value, column.Padding);
        }

        return ModelSentinel.Printing ? ModelSentinel.Encode(value) : Defer(new PendingScalar<T>(column, value));
    }

    /// <summary>Opens an envelope of the column that the token declares.</summary>
    public static T Open<T>(byte[] envelope, string token)
    {
        if (ModelSentinel.TryDecode<T>(envelope, out var sentinel))
        {
            return sentinel;
        }

        var column = ColumnDeclaration.Of(token);
        try
        {
            var (key, binding) = Resolve(envelope, envelope, column);
            return EnvelopeCodec.Open<T>(key.Key, binding, envelope);
        }
        catch (EnvelopeRefusedException refused)
        {
            Audit(refused, envelope, column);
            throw;
        }
    }

    /// <summary>Seals a value as text armour.</summary>
    public static string SealArmored<T>(T value, string token)
        => SealingFrame.Current is { IsComparing: false } ? TextArmor.Encode(Seal(value, token))
            : ModelSentinel.Printing ? ModelSentinel.EncodeArmored(value)
            : Convert.ToHexString(Seal(value, token));

    /// <summary>Opens text armour.</summary>
    public static T OpenArmored<T>(string armor, string token)
    {
        if (ModelSentinel.TryDecodeArmored<T>(armor, out var sentinel))
        {
            return sentinel;
        }

        var column = ColumnDeclaration.Of(token);
        try
        {
            var envelope = Dearmor(armor, column);
            var (key, binding) = Resolve(armor, envelope, column);
            return EnvelopeCodec.Open<T>(key.Key, binding, envelope);
        }
        catch (EnvelopeRefusedException refused)
        {
            Audit(refused, armor, column);
            throw;
        }
    }

    /// <summary>Seals a value that EF maps to one column as JSON (encoding 13).</summary>
    public static byte[] SealJson<T>(T value, JsonValueReaderWriter readerWriter, string token)
    {
        ArgumentNullException.ThrowIfNull(readerWriter);
        var column = ColumnDeclaration.Of(token);
        if (SealingFrame.Current is { } row)
        {
            return row.IsComparing ? PendingValue.NewPlaceholder() : PendingJson<T>.Seal(row, column, value, readerWriter);
        }

        return Defer(new PendingJson<T>(column, value, readerWriter));
    }

    /// <summary>Opens an envelope of encoding 13.</summary>
    public static T OpenJson<T>(byte[] envelope, JsonValueReaderWriter readerWriter, string token)
    {
        ArgumentNullException.ThrowIfNull(readerWriter);
        var column = ColumnDeclaration.Of(token);
        byte[] json;
        try
        {
            var (key, binding) = Resolve(envelope, envelope, column);
            json = EnvelopeCodec.OpenBytes(key.Key, binding, ValueEncoding.Json, envelope);
        }
        catch (EnvelopeRefusedException refused)
        {
            Audit(refused, envelope, column);
            throw;
        }

        try
        {
            return (T)readerWriter.FromJsonString(System.Text.Encoding.UTF8.GetString(json));
        }
        catch (Exception error) when (error is System.Text.Json.JsonException or InvalidOperationException or FormatException or InvalidCastException or OverflowException)
        {
            // Not kept as the inner exception: it may print a part of the value.
            throw new EnvelopeRefusedException(
                $"A value of column '{column.ColumnId}' is genuine, but its JSON is no {typeof(T).Name} ({error.GetType().Name}). Check whether the property's type was changed. It is not returned.")
            {
                ColumnId = column.ColumnId,
                KeyId = EnvelopeCodec.TryReadKeyId(envelope, out var keyId) ? keyId : null,
            };
        }
        finally
        {
            System.Security.Cryptography.CryptographicOperations.ZeroMemory(json);
        }
    }

    private static byte[] Defer(PendingValue value)
    {
        var frame = CommandFrame.Current ?? throw new EnvelopeConfigurationException(
            $"A value of encrypted column '{value.Column.ColumnId}' was about to be written outside of EfEnvelope. Call UseEnvelopeEncryption(...) on the context's options, after the provider. Nothing was written.")
        {
            ColumnId = value.Column.ColumnId,
        };
        frame.Pending.Add(value);
        return value.Placeholder;
    }

    /// <summary>A refused value without a key id is none of ours: planted plaintext, or a foreign value.</summary>
    private static void Audit(EnvelopeRefusedException refused, object cell, ColumnDeclaration column)
    {
        var audit = OpeningFrame.TryGet(cell, out var source, out _) ? source.Audit : OpeningFrame.DocumentOf(cell)?.Audit ?? EnvelopeAudit.Latest;
        if (refused.KeyId is null && !IsEnvelope(cell))
        {
            audit.PlaintextRefused(column.ColumnId);
        }
        else
        {
            audit.ValueRefused(column.ColumnId, refused.KeyId);
        }
    }

    private static bool IsEnvelope(object cell)
        => cell is byte[] bytes ? EnvelopeCodec.TryReadKeyId(bytes, out _) : cell is string armor && TextArmor.TryReadKeyId(armor, out _);

    private static byte[] Dearmor(string armor, ColumnDeclaration column)
    {
        try
        {
            return TextArmor.Decode(armor);
        }
        catch (EnvelopeRefusedException refused)
        {
            throw new EnvelopeRefusedException($"Column '{column.ColumnId}': {refused.Message}", refused) { ColumnId = column.ColumnId };
        }
    }

    private static (RingKey Key, EnvelopeBinding Binding) Resolve(object cell, byte[] envelope, ColumnDeclaration column)
    {
        if (!EnvelopeCodec.TryReadKeyId(envelope, out var keyId))
        {
            throw new EnvelopeRefusedException(
                $"Column '{column.ColumnId}' holds a value that is not an envelope (plaintext, truncated or foreign). It is not returned. Existing plaintext is adopted through a new column that a migration adds and the application fills, never in the column itself.")
            {
                ColumnId = column.ColumnId,
            };
        }

        RingKey key;
        string? rowId = null;
        if (OpeningFrame.TryGet(cell, out var source, out var ordinal))
        {
            if (source.TryRecall(keyId, column, ordinal, out key))
            {
                return (key, key.Bind(column.Column));
            }

            key = source.GetKey(keyId, column, ordinal);
            // Also with a frame the row may be behind us: a buffered row's last cell is opened when the reader is closed.
            rowId = column.RowBound ? BufferedCells.GetRowId(cell, column) : null;
            CheckScope(key, column);
            if (rowId is null)
            {
                source.Remember(column, ordinal, key);
            }
        }
        else if (!column.RowBound && OpeningFrame.DocumentOf(cell) is { } document && document.TryResolve(keyId, column, out key!))
        {
            // Row-bound columns stand in no document.
            CheckScope(key, column);
        }
        else
        {
            key = BufferedCells.GetKey(cell, keyId, column);
            rowId = column.RowBound ? BufferedCells.GetRowId(cell, column) : null;
            CheckScope(key, column);
        }

        return (key, key.Bind(column.Column, rowId));
    }

    private static void CheckScope(RingKey key, ColumnDeclaration column)
    {
        if (!column.AcceptsScope(key.Scope))
        {
            throw new EnvelopeRefusedException(
                $"A value of column '{column.ColumnId}' is sealed with key {key.Id} of another kind of scope than the model declares. It is not returned.")
            {
                ColumnId = column.ColumnId,
                KeyId = key.Id,
            };
        }
    }

    private sealed class PendingScalar<T>(ColumnDeclaration column, T value) : PendingValue(column)
    {
        public override byte[] Seal(SealingFrame frame) => EnvelopeCodec.Seal(frame.Key.Key, frame.BindingFor(Column), value, Column.Padding);
    }

    private sealed class PendingJson<T>(ColumnDeclaration column, T value, JsonValueReaderWriter readerWriter) : PendingValue(column)
    {
        public override byte[] Seal(SealingFrame frame) => Seal(frame, Column, value, readerWriter);

        public static byte[] Seal(SealingFrame frame, ColumnDeclaration column, T value, JsonValueReaderWriter readerWriter)
        {
            var json = System.Text.Encoding.UTF8.GetBytes(readerWriter.ToJsonString(value!));
            try
            {
                return EnvelopeCodec.SealBytes(frame.Key.Key, frame.BindingFor(column), ValueEncoding.Json, json, column.Padding);
            }
            finally
            {
                System.Security.Cryptography.CryptographicOperations.ZeroMemory(json);
            }
        }
    }
}
