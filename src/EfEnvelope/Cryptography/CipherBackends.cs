namespace EfEnvelope.Cryptography;

/// <summary>Makes AES-256-GCM ciphers for sub-keys. Stateless and thread safe.</summary>
internal abstract class AeadBackend
{
    public abstract CipherBackend Kind { get; }

    /// <summary>A cipher for a 32-byte key; the caller keeps and clears its own copy of the key.</summary>
    public abstract SubKeyCipher CreateCipher(ReadOnlySpan<byte> key);
}

/// <summary>Chooses the AES-GCM implementation.</summary>
internal static class CipherBackends
{
    private static AeadBackend? _default;

    public static AeadBackend Bcl { get; } = new BclBackend();

    public static bool IsLibsodiumAvailable => Sodium.HasHardwareAes;

    /// <summary>What keys use that are imported without a backend of their own; chosen at the first use unless set before.</summary>
    public static AeadBackend Default
    {
        get => Volatile.Read(ref _default) ?? Interlocked.CompareExchange(ref _default, Select(CipherBackend.Automatic, false), null) ?? _default!;
        set => Volatile.Write(ref _default, value);
    }

    /// <exception cref="EnvelopeConfigurationException">libsodium is asked for where it is not available or where FIPS is required.</exception>
    public static AeadBackend Select(CipherBackend requested, bool requireFips)
    {
        switch (requested)
        {
            case CipherBackend.Automatic:
                return !requireFips && Sodium.HasHardwareAes ? LibsodiumBackend.Instance : Bcl;
            case CipherBackend.Bcl:
                return Bcl;
            case CipherBackend.Libsodium when requireFips:
                throw new EnvelopeConfigurationException("The libsodium backend is not FIPS 140 validated: choose CipherBackend.Bcl or Automatic, or do not require FIPS.");
            case CipherBackend.Libsodium when !Sodium.HasHardwareAes:
                throw new EnvelopeConfigurationException("The libsodium backend needs libsodium's native library and a processor with AES and carry-less multiplication instructions: choose CipherBackend.Bcl or Automatic.");
            case CipherBackend.Libsodium:
                return LibsodiumBackend.Instance;
            default:
                throw new EnvelopeConfigurationException($"Unknown cipher backend {(int)requested}.");
        }
    }
}
