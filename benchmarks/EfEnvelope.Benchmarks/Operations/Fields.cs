using System.Security.Cryptography;
using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;

namespace EfEnvelope.Benchmarks.Operations;

/// <summary>A field of so many bytes, its key, and the same work by a bare <see cref="AesGcm"/>: same key length, same associated data, into buffers that are there already.</summary>
internal sealed class Fields : IDisposable
{
    private readonly byte[] _nonce = RandomNumberGenerator.GetBytes(12);
    private readonly byte[] _associatedData;
    private readonly byte[] _ciphertext;
    private readonly byte[] _decrypted;
    private readonly byte[] _tag = new byte[16];
    private readonly byte[] _rawKey = RandomNumberGenerator.GetBytes(32);
    private readonly AesGcm _raw;

    public Fields(AeadBackend backend, int size)
    {
        Value = RandomNumberGenerator.GetBytes(size);
        Key = DataKey.Import(KeyPurpose.Field, RandomNumberGenerator.GetBytes(32), backend);
        Binding = EnvelopeBinding.Create("Customer.Ssn", "tenant:7f6a2c58-3f0b-4a52-9c11-0d5b6a1e9c01");
        Envelope = Seal();
        _associatedData = new byte[EnvelopeLayout.AssociatedDataLength(Binding)];
        _raw = new AesGcm(_rawKey, 16);
        _ciphertext = new byte[size];
        _decrypted = new byte[size];
        RawEncrypt();
    }

    public byte[] Value { get; }

    public DataKey Key { get; }

    public EnvelopeBinding Binding { get; }

    public byte[] Envelope { get; }

    public byte[] Seal() => EnvelopeCodec.Seal(Key, Binding, Value);

    public byte[] Open() => EnvelopeCodec.Open<byte[]>(Key, Binding, Envelope);

    public void RawEncrypt() => _raw.Encrypt(_nonce, Value, _ciphertext, _tag, _associatedData);

    public void RawDecrypt() => _raw.Decrypt(_nonce, _ciphertext, _tag, _decrypted, _associatedData);

    /// <summary>What a converter without a cache of keys does for each value.</summary>
    public void NewAesGcmEncrypt()
    {
        using var gcm = new AesGcm(_rawKey, 16);
        gcm.Encrypt(_nonce, Value, _ciphertext, _tag, _associatedData);
    }

    public void Dispose()
    {
        _raw.Dispose();
        Key.Dispose();
    }
}
