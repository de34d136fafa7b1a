using System.Buffers;
using System.Text;
using System.Text.Json;
using EfEnvelope.Envelopes;

namespace EfEnvelope.Reading;

/// <summary>Reads a JSON document once before EF does: which keys its armour names, and whether it is a document at all. No value of it is kept.</summary>
internal static class DocumentInspector
{
    /// <summary>False when it is no well-formed object or array, an encrypted member is neither text nor null, or armour is spelt in a way that a census does not see.</summary>
    /// <param name="document">The text of the column.</param>
    /// <param name="cell">Whether it is an array, and the names of its members.</param>
    /// <param name="keys">Receives the id of each key.</param>
    public static bool TryInspect(string document, EnvelopeCell cell, List<Guid> keys)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(Encoding.UTF8.GetMaxByteCount(document.Length));
        try
        {
            var reader = new Utf8JsonReader(buffer.AsSpan(0, Encoding.UTF8.GetBytes(document, buffer)));
            return TryInspect(ref reader, cell, keys);
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            // Not well-formed, or a name with half a surrogate pair.
            return false;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static bool TryInspect(ref Utf8JsonReader reader, EnvelopeCell cell, List<Guid> keys)
    {
        if (!reader.Read() || reader.TokenType is not (JsonTokenType.StartObject or JsonTokenType.StartArray or JsonTokenType.Null))
        {
            return false;
        }

        if (cell.IsList is { } list && reader.TokenType != JsonTokenType.Null && list != (reader.TokenType == JsonTokenType.StartArray))
        {
            return false;
        }

        var encrypted = false;

        // Whether it is a plain member's value, or one of its elements: not beyond an object.
        var plain = false;
        while (reader.Read())
        {
            switch (reader.TokenType)
            {
                case JsonTokenType.PropertyName:
                    encrypted = IsAny(ref reader, cell.Members);
                    plain = !encrypted && IsAny(ref reader, cell.PlainMembers);
                    continue;
                case JsonTokenType.String:
                    // A plain member may hold any text of the application's users, and EF opens none.
                    if (!plain && TryReadArmor(ref reader, out var keyId))
                    {
                        if (!reader.ValueSpan.StartsWith("efe1:"u8))
                        {
                            // A census looks for these characters: spelt otherwise, the value would open here and be counted nowhere.
                            return false;
                        }

                        keys.Add(keyId);
                    }

                    break;
                case JsonTokenType.Null:
                    break;
                default:
                    if (encrypted)
                    {
                        return false;
                    }

                    if (reader.TokenType is JsonTokenType.StartObject or JsonTokenType.EndObject)
                    {
                        plain = false;
                    }

                    break;
            }

            encrypted = false;
        }

        return true;
    }

    /// <summary>However the name is spelt: EF escapes what is not plain ASCII.</summary>
    private static bool IsAny(ref Utf8JsonReader reader, byte[][] members)
    {
        foreach (var member in members)
        {
            if (reader.ValueTextEquals(member))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>JSON may spell any character of armour as an escape: what EF will read as armour is found however it is written.</summary>
    private static bool TryReadArmor(ref Utf8JsonReader reader, out Guid keyId)
    {
        keyId = default;
        if (!reader.ValueIsEscaped)
        {
            return reader.ValueSpan.StartsWith("efe1:"u8) && TextArmor.TryReadKeyId(reader.GetString()!, out keyId);
        }

        try
        {
            return TextArmor.TryReadKeyId(reader.GetString()!, out keyId);
        }
        catch (InvalidOperationException)
        {
            // Half a surrogate pair: no text, and EF passes over it or refuses it.
            return false;
        }
    }
}
