using System.Security.Cryptography;
using EfEnvelope.Census;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Metadata;

namespace EfEnvelope.Reencryption;

/// <summary>Opens a cell with its old key and seals it with the new one: same column, scope, row, encoding and padding bucket; only key, session and nonce differ.</summary>
internal static class CellResealer
{
    public static byte[] Reseal(byte[] envelope, ColumnDeclaration column, RingKey oldKey, RingKey newKey, string? rowId)
    {
        if (!string.Equals(oldKey.Scope, newKey.Scope, StringComparison.Ordinal) || !column.AcceptsScope(oldKey.Scope))
        {
            throw new EnvelopeRefusedException($"A value of column '{column.ColumnId}' (key {oldKey.Id}) is of another scope than the model declares. It is left as it is.") { ColumnId = column.ColumnId, KeyId = oldKey.Id };
        }

        var encoding = (ValueEncoding)(envelope[2] & EnvelopeLayout.EncodingMask);
        var binding = Binding(column, oldKey, rowId);
        var plaintext = EnvelopeCodec.OpenBytes(oldKey.Key, binding, encoding, envelope);
        try
        {
            return EnvelopeCodec.SealBytes(newKey.Key, Binding(column, newKey, rowId), encoding, plaintext, column.Padding);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(plaintext);
        }
    }

    /// <summary>Reseals the stale armour of a document; every other character stays as it is. A member's column is the one whose binding opens it.</summary>
    public static string ResealDocument(string document, EncryptedColumn column, Func<Guid, (RingKey Old, RingKey New)?> keys)
    {
        var result = document;
        foreach (var (id, start, length) in Documents.Find(document).Reverse().ToList())
        {
            if (keys(id) is not { } pair)
            {
                continue;
            }

            var armor = Documents.Unescape(document.Substring(start, length));
            var envelope = TextArmor.Decode(armor);
            result = string.Concat(result.AsSpan(0, start), TextArmor.Encode(ResealMember(envelope, column, pair.Old, pair.New)), result.AsSpan(start + length));
        }

        return result;
    }

    /// <summary>Opens a cell and seals it again under the same key, in memory; false where it does not open.</summary>
    public static bool Try(object cell, ColumnDeclaration column, RingKey key, object[] primaryKey)
    {
        try
        {
            Reseal(cell as byte[] ?? TextArmor.Decode((string)cell), column, key, key, column.RowBound ? ScopeValue.RowId(primaryKey) : null);
            return true;
        }
        catch (EnvelopeRefusedException)
        {
            return false;
        }
    }

    private static byte[] ResealMember(byte[] envelope, EncryptedColumn column, RingKey oldKey, RingKey newKey)
    {
        foreach (var member in column.Members.Values)
        {
            try
            {
                return Reseal(envelope, member, oldKey, newKey, rowId: null);
            }
            catch (EnvelopeRefusedException) when (column.Members.Count > 1)
            {
                // Another member's; the columns of one document are few.
            }
        }

        throw new EnvelopeRefusedException($"A member of JSON column '{column.Name}' (key {oldKey.Id}) opens as none of its encrypted properties. It is left as it is.") { KeyId = oldKey.Id };
    }

    private static EnvelopeBinding Binding(ColumnDeclaration column, RingKey key, string? rowId)
        => key.Bind(column.Column, column.RowBound ? rowId : null);
}
