using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace EfEnvelope.Cryptography;

/// <summary>
/// libsodium's AES-256-GCM with precomputed key state, which is only read after it is made and so is shared by threads. The state stands in pinned
/// managed memory: it is zeroed on disposal and never freed under a running operation.
/// </summary>
internal sealed unsafe partial class LibsodiumGcmKey : GcmKey
{
    private const string Library = "libsodium";
    private const int StateSize = 512;
    private const int Alignment = 64;

    private static readonly Lazy<bool> Available = new(Probe);

    private readonly byte[] _memory;
    private readonly nint _state;

    public LibsodiumGcmKey(ReadOnlySpan<byte> key)
    {
        _memory = GC.AllocateArray<byte>(StateSize + Alignment, pinned: true);
        var address = (nint)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_memory));
        _state = (address + Alignment - 1) & ~(Alignment - 1);
        fixed (byte* k = key)
        {
            _ = crypto_aead_aes256gcm_beforenm((void*)_state, k);
        }
    }

    public static bool IsAvailable => Available.Value;

    protected override void EncryptCore(ReadOnlySpan<byte> nonce, Span<byte> text, Span<byte> tag, ReadOnlySpan<byte> associatedData)
    {
        fixed (byte* n = nonce, m = text, t = tag, a = associatedData)
        {
            if (crypto_aead_aes256gcm_encrypt_detached_afternm(m, t, null, m, (ulong)text.Length, a, (ulong)associatedData.Length, null, n, (void*)_state) != 0)
            {
                throw new CryptographicException("libsodium refused to encrypt.");
            }
        }
    }

    protected override bool TryDecryptCore(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> ciphertext, ReadOnlySpan<byte> tag, ReadOnlySpan<byte> associatedData, Span<byte> text)
    {
        fixed (byte* n = nonce, c = ciphertext, t = tag, a = associatedData, m = text)
        {
            return crypto_aead_aes256gcm_decrypt_detached_afternm(m, null, c, (ulong)ciphertext.Length, t, a, (ulong)associatedData.Length, n, (void*)_state) == 0;
        }
    }

    protected override void Zero() => CryptographicOperations.ZeroMemory(_memory);

    private static bool Probe()
    {
        try
        {
            return sodium_init() >= 0 && crypto_aead_aes256gcm_is_available() == 1 && crypto_aead_aes256gcm_statebytes() <= StateSize;
        }
        catch (Exception missing) when (missing is DllNotFoundException or EntryPointNotFoundException or BadImageFormatException)
        {
            return false;
        }
    }

    [LibraryImport(Library)]
    private static partial int sodium_init();

    [LibraryImport(Library)]
    private static partial int crypto_aead_aes256gcm_is_available();

    [LibraryImport(Library)]
    private static partial nuint crypto_aead_aes256gcm_statebytes();

    [LibraryImport(Library)]
    private static partial int crypto_aead_aes256gcm_beforenm(void* state, byte* key);

    [LibraryImport(Library)]
    private static partial int crypto_aead_aes256gcm_encrypt_detached_afternm(
        byte* c, byte* mac, ulong* macLength, byte* m, ulong mLength, byte* ad, ulong adLength, byte* nsec, byte* npub, void* state);

    [LibraryImport(Library)]
    private static partial int crypto_aead_aes256gcm_decrypt_detached_afternm(
        byte* m, byte* nsec, byte* c, ulong cLength, byte* mac, byte* ad, ulong adLength, byte* npub, void* state);
}
