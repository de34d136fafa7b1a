using System.Globalization;
using System.Text.Json;
using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;

namespace EfEnvelope.Tests.Envelopes;

public sealed class EnvelopeVectorTests
{
    [Fact]
    public void A_vector_file_that_is_given_is_the_one_that_is_read()
    {
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, """{"fields":[]}""");
            Assert.Equal(0, EnvelopeVectors.Load(path).GetProperty("fields").GetArrayLength());
            Assert.NotEqual(0, EnvelopeVectors.Load(null).GetProperty("fields").GetArrayLength());
        }
        finally
        {
            File.Delete(path);
        }

        Assert.Throws<FileNotFoundException>(() => EnvelopeVectors.Load(path));
    }

    [Fact]
    public void Every_field_opens_and_seals_to_the_same_bytes_on_every_backend()
    {
        var derived = new byte[32];
        foreach (var field in EnvelopeVectors.Entries("fields"))
        {
            KeyDerivation.PurposeKey(KeyPurpose.Field, field.Hex("key"), derived);
            Assert.Equal(field.Text("fieldKey"), Convert.ToHexStringLower(derived));
            foreach (var backend in EnvelopeVectors.Backends)
            {
                using var key = DataKey.Import(KeyPurpose.Field, field.Hex("key"), backend);
                Assert.Equal(field.Text("keyId"), key.Id.ToString("N"));
                var rowId = field.Text("rowId");
                var binding = EnvelopeBinding.Create(field.Text("columnId"), field.Text("scope"), rowId.Length == 0 ? null : rowId);
                var encoding = (ValueEncoding)field.Int("encoding");
                byte[] sessionAndNonce = [.. field.Hex("session"), .. field.Hex("nonce")];
                var envelope = field.Hex("envelope");

                Assert.Equal(envelope, EnvelopeSealer.Seal(key, binding, encoding, field.Hex("plaintext"), field.Int("bucket"), sessionAndNonce));
                Assert.Equal(field.Hex("plaintext"), EnvelopeCodec.OpenBytes(key, binding, encoding, envelope));
                Assert.Equal(field.Text("armored"), TextArmor.Encode(envelope));
                Assert.Equal(TextArmor.EncodedLength(envelope.Length), field.Text("armored").Length);
                Assert.Equal(envelope, TextArmor.Decode(field.Text("armored")));
                Assert.True(EnvelopeCodec.TryReadKeyId(envelope, out var id));
                Assert.Equal(key.Id, id);
                Assert.True(TextArmor.TryReadKeyId(field.Text("armored"), out id));
                Assert.Equal(key.Id, id);
            }
        }
    }

    [Fact]
    public void Every_wrapped_key_unwraps_and_wraps_to_the_same_bytes_on_every_backend()
    {
        foreach (var entry in EnvelopeVectors.Entries("wrappedKeys"))
        {
            foreach (var backend in EnvelopeVectors.Backends)
            {
                var purpose = Enum.Parse<KeyPurpose>(entry.Text("purpose"), ignoreCase: true);
                using var kek = DataKey.Import(KeyPurpose.Kek, entry.Hex("kek"), backend);
                using var key = DataKey.Import(purpose, entry.Hex("key"), backend);
                Assert.Equal(entry.Text("kekId"), kek.Id.ToString("N"));
                Assert.Equal(entry.Text("keyId"), key.Id.ToString("N"));
                byte[] sessionAndNonce = [.. entry.Hex("session"), .. entry.Hex("nonce")];

                Assert.Equal(entry.Hex("wrapped"), EnvelopeCodec.WrapKey(kek, key, entry.Text("scope"), sessionAndNonce));
                using var unwrapped = EnvelopeCodec.UnwrapKey(kek, entry.Hex("wrapped"), purpose, key.Id, entry.Text("scope"));
                var material = new byte[32];
                unwrapped.CopyMaterialTo(material);
                Assert.Equal(entry.Hex("key"), material);
                Assert.Throws<EnvelopeRefusedException>(() => EnvelopeCodec.UnwrapKey(kek, entry.Hex("wrapped"), purpose, kek.Id, entry.Text("scope")));
                Assert.Throws<EnvelopeRefusedException>(() => EnvelopeCodec.UnwrapKey(kek, entry.Hex("wrapped"), purpose, key.Id, entry.Text("scope") + "x"));
            }
        }
    }

    [Fact]
    public void Every_row_id_is_made_of_its_parts()
    {
        foreach (var entry in EnvelopeVectors.Entries("rowIds"))
        {
            object[] parts = [.. entry.GetProperty("parts").EnumerateArray().Select(p => p.GetString()!)];
            Assert.Equal(entry.Text("rowId"), ScopeValue.RowId(parts));
        }
    }

    [Fact]
    public void Every_blind_index_comes_out()
    {
        foreach (var entry in EnvelopeVectors.Entries("blindIndexes"))
        {
            using var root = DataKey.Import(KeyPurpose.Index, entry.Hex("root"));
            Assert.Equal(entry.Text("rootId"), root.Id.ToString("N"));
            Assert.Equal(entry.Text("index"), Convert.ToHexStringLower(BlindIndexFunction.Compute(root, entry.Text("indexId"), entry.Hex("value"), entry.Int("bits"))));
            byte[]?[] parts = [.. entry.GetProperty("parts").EnumerateArray().Select(p => p.ValueKind == JsonValueKind.Null ? null : Convert.FromHexString(p.GetString()!))];
            var compound = BlindIndexFunction.EncodeCompound(parts);
            if (compound is null)
            {
                Assert.All(parts, Assert.Null);
            }
            else
            {
                Assert.Equal(entry.Text("compound"), Convert.ToHexStringLower(compound));
            }
        }
    }

    [Fact]
    public void Every_refused_armour_is_refused()
    {
        foreach (var entry in EnvelopeVectors.Entries("refusedArmor"))
        {
            Assert.Throws<EnvelopeRefusedException>(() => TextArmor.Decode(entry.GetString()));
        }
    }

    [Fact]
    public void Every_value_encodes_decodes_and_indexes_as_given()
    {
        foreach (var entry in EnvelopeVectors.Entries("values"))
        {
            var v = entry.Text("value");
            var c = CultureInfo.InvariantCulture;
            switch (entry.Text("type"))
            {
                case "string": Check(entry, v); break;
                case "byte[]": Check(entry, Convert.FromHexString(v)); break;
                case "sbyte": Check(entry, sbyte.Parse(v, c)); break;
                case "short": Check(entry, short.Parse(v, c)); break;
                case "int": Check(entry, int.Parse(v, c)); break;
                case "long": Check(entry, long.Parse(v, c)); break;
                case "byte": Check(entry, byte.Parse(v, c)); break;
                case "ushort": Check(entry, ushort.Parse(v, c)); break;
                case "uint": Check(entry, uint.Parse(v, c)); break;
                case "ulong": Check(entry, ulong.Parse(v, c)); break;
                case "char": Check(entry, v[0]); break;
                case "bool": Check(entry, bool.Parse(v)); break;
                case "double": Check(entry, double.Parse(v, c)); break;
                case "float": Check(entry, float.Parse(v, c)); break;
                case "decimal": Check(entry, decimal.Parse(v, c)); break;
                case "Guid": Check(entry, Guid.Parse(v)); break;
                case "DateTime": Check(entry, new DateTime(First(v), (DateTimeKind)Second(v))); break;
                case "DateTimeOffset": Check(entry, new DateTimeOffset(First(v), TimeSpan.FromMinutes(Second(v)))); break;
                case "DateOnly": Check(entry, DateOnly.FromDayNumber(int.Parse(v, c))); break;
                case "TimeOnly": Check(entry, new TimeOnly(long.Parse(v, c))); break;
                case "TimeSpan": Check(entry, new TimeSpan(long.Parse(v, c))); break;
                default: Assert.Fail($"No case for {entry.Text("type")}."); break;
            }
        }

        static long First(string value) => long.Parse(value.Split('/')[0], CultureInfo.InvariantCulture);
        static int Second(string value) => int.Parse(value.Split('/')[1], CultureInfo.InvariantCulture);
    }

    [Fact]
    public void The_scope_sent_to_the_key_service_is_the_salted_hash()
    {
        foreach (var entry in EnvelopeVectors.Entries("wrappedKeys"))
        {
            Assert.Equal(entry.Text("kmsScope"), KmsContext.ScopeHash(entry.Hex("ringSalt"), entry.Text("scope")));
        }
    }

    /// <summary>A wrapped key of any release unwraps with this context only.</summary>
    [Theory]
    [InlineData(KeyPurpose.Field, "field")]
    [InlineData(KeyPurpose.Kek, "kek")]
    [InlineData(KeyPurpose.Index, "index")]
    [InlineData(KeyPurpose.Mac, "mac")]
    public void The_encryption_context_is_the_one_that_was_published(KeyPurpose purpose, string name)
    {
        var ring = new RingIdentity(Guid.Parse("0F8FAD5B-D9CB-469F-A165-70867728950E"), Convert.FromHexString("9606784c99dfa26813383b602d1576a5"), 1);
        var context = KmsContext.Create(ring, "row:0f8fad5b-d9cb-469f-a165-70867728950e@global", purpose, new Dictionary<string, string> { ["app"] = "banking" });
        Assert.Equal(
            [
                "app=banking", $"efenvelope:purpose={name}", "efenvelope:ring=0f8fad5b-d9cb-469f-a165-70867728950e",
                "efenvelope:scope=00342929e46830ca0f8404d9b86b46977c051941edbff848c3745fcd07f5ce50", "efenvelope:v=1",
            ],
            context.Select(p => $"{p.Key}={p.Value}").Order(StringComparer.Ordinal));
    }

    /// <summary>The metadata of a ring row, authenticated once with the later fields and once without: a row of any release verifies with this HMAC only.</summary>
    [Theory]
    [InlineData(false, "1b88fefb80a0a2b717fd87694c75ecf2448b3f051f6fc024429f6e9b677419a5")]
    [InlineData(true, "2d3a08de0745de783e7378fffe71286b76b69db69671e75a5b2a8a014435bacd")]
    public void The_hmac_of_a_ring_row_is_the_one_that_was_published(bool later, string mac)
    {
        using var key = DataKey.Import(KeyPurpose.Mac, Enumerable.Range(0, 32).Select(i => (byte)i).ToArray());
        var time = new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
        var entry = new KeyRingEntry
        {
            Id = Guid.Parse("00112233-4455-6677-8899-aabbccddeeff"),
            Scope = "tenant:ä",
            Purpose = KeyPurpose.Field,
            Version = 3,
            State = KeyState.Active,
            KekId = Guid.Parse("ffeeddcc-bbaa-9988-7766-554433221100"),
            Wrapped = [1, 2, 3],
            RootKeyId = "root",
            KeyMaterialId = "material",
            CreatedAt = time,
            ActivatedAt = time.AddTicks(1),
            StateChangedAt = time.AddTicks(2),
            Reason = "reason",
            Revision = 5,
        };
        entry = later ? entry with { ChangedBy = "somebody", CompromisedAt = time.AddTicks(3), DestructionDueAt = time.AddTicks(4), FormerState = KeyState.Deactivated } : entry;
        Assert.Equal(mac, Convert.ToHexStringLower(KeyMetadataMac.Sign(key, Guid.Parse("0f8fad5b-d9cb-469f-a165-70867728950e"), entry).Mac));
    }

    private static void Check<T>(JsonElement entry, T value)
    {
        var encoding = (ValueEncoding)entry.Int("encoding");
        Assert.Equal(encoding, ValueCodec.EncodingOf(typeof(T)));
        Assert.Equal(entry.Text("bytes"), Convert.ToHexStringLower(ValueCodec.Encode(value)));
        Assert.Equal(entry.Text("indexBytes"), Convert.ToHexStringLower(ValueCodec.IndexBytes(value)));
        var decoded = ValueCodec.Decode<T>(encoding, entry.Hex("bytes"));
        Assert.Equal(value, decoded);
        Assert.Equal(entry.Text("bytes"), Convert.ToHexStringLower(ValueCodec.Encode(decoded)));
    }
}
