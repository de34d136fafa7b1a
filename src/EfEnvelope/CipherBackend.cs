namespace EfEnvelope;

/// <summary>Which implementation of AES-256-GCM seals and opens. All of them read and write the same bytes.</summary>
public enum CipherBackend
{
    /// <summary>libsodium where the processor has hardware AES and FIPS is not required, else <see cref="Bcl"/>.</summary>
    Automatic = 0,

    /// <summary><see cref="System.Security.Cryptography.AesGcm"/>: the operating system's library, the choice where FIPS 140 is required.</summary>
    Bcl = 1,

    /// <summary>libsodium's hardware AES-256-GCM; about three times as fast for short values. Refused where the processor lacks it.</summary>
    Libsodium = 2,
}
