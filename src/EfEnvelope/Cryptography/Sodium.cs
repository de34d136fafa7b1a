using System.Runtime.InteropServices;

namespace EfEnvelope.Cryptography;

/// <summary>The few functions of libsodium (https://doc.libsodium.org) that are used.</summary>
internal static unsafe partial class Sodium
{
    /// <summary>sizeof(crypto_aead_aes256gcm_state); must be 16-byte aligned.</summary>
    public const int StateBytes = 512;

    private const string Library = "libsodium";

    /// <summary>Whether the native library is there and initialised.</summary>
    public static bool IsLoaded { get; } = Load();

    public static bool HasHardwareAes { get; } = IsLoaded && IsAes256GcmAvailable() == 1 && StateSize() <= StateBytes;

    [LibraryImport(Library, EntryPoint = "crypto_aead_aes256gcm_beforenm"), DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    public static partial int BeforeNm(void* state, byte* key);

    [LibraryImport(Library, EntryPoint = "crypto_aead_aes256gcm_encrypt_detached_afternm"), DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    public static partial int EncryptDetached(byte* c, byte* mac, ulong* macLength, byte* m, ulong mLength, byte* ad, ulong adLength, byte* nsec, byte* npub, void* state);

    [LibraryImport(Library, EntryPoint = "crypto_aead_aes256gcm_decrypt_detached_afternm"), DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    public static partial int DecryptDetached(byte* m, byte* nsec, byte* c, ulong cLength, byte* mac, byte* ad, ulong adLength, byte* npub, void* state);

    [LibraryImport(Library, EntryPoint = "sodium_memzero"), DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    public static partial void Zero(void* p, nuint length);

    [LibraryImport(Library, EntryPoint = "randombytes_buf"), DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    public static partial void RandomBytes(void* destination, nuint length);

    [LibraryImport(Library, EntryPoint = "sodium_init"), DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    private static partial int Init();

    [LibraryImport(Library, EntryPoint = "crypto_aead_aes256gcm_is_available"), DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    private static partial int IsAes256GcmAvailable();

    [LibraryImport(Library, EntryPoint = "crypto_aead_aes256gcm_statebytes"), DefaultDllImportSearchPaths(DllImportSearchPath.AssemblyDirectory | DllImportSearchPath.SafeDirectories)]
    private static partial nuint StateSize();

    private static bool Load()
    {
        try
        {
            return Init() >= 0;
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException or BadImageFormatException)
        {
            return false;
        }
    }
}
