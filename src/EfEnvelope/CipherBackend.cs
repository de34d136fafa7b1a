namespace EfEnvelope;

/// <summary>The AES-256-GCM implementation that seals and opens. All give the same bytes; chosen once per key when it is loaded.</summary>
public enum CipherBackend
{
    /// <summary>libsodium where the processor has hardware AES and FIPS is not required, else the BCL. The default.</summary>
    Automatic,

    /// <summary>The BCL's AesGcm: the operating system's module, FIPS-validated where the platform has one.</summary>
    Bcl,

    /// <summary>libsodium: several times faster per field, hardware AES only. Refused where it is not available.</summary>
    Libsodium,
}
