using System.Security.Cryptography;

namespace EfEnvelope.Cryptography;

/// <summary>
/// One AES-256-GCM key, ready for use by many threads at once. After <see cref="Dispose"/> its state is zeroed: an operation that overlapped with it throws
/// <see cref="ObjectDisposedException"/> and its output is discarded, so nothing is ever sealed under a zeroed key.
/// </summary>
internal abstract class GcmKey : IDisposable
{
    private int _disposed;

    public bool IsDisposed => Volatile.Read(ref _disposed) != 0;

    public static GcmKey Create(CipherBackend backend, ReadOnlySpan<byte> key)
        => backend == CipherBackend.Libsodium ? new LibsodiumGcmKey(key) : new BclGcmKey(key);

    /// <summary>The backend for a request: the automatic choice is made once per process.</summary>
    public static CipherBackend Select(CipherBackend requested, bool requireFips)
    {
        if (requireFips && requested == CipherBackend.Libsodium)
        {
            throw new EnvelopeConfigurationException("libsodium is no FIPS-validated module. Choose CipherBackend.Bcl, or do not require FIPS.");
        }

        return requested switch
        {
            CipherBackend.Bcl => CipherBackend.Bcl,
            CipherBackend.Libsodium when LibsodiumGcmKey.IsAvailable => CipherBackend.Libsodium,
            CipherBackend.Libsodium => throw new EnvelopeConfigurationException(
                "libsodium's AES-256-GCM is not available here: the native library is missing or the processor has no hardware AES. Choose CipherBackend.Bcl or Automatic."),
            _ => !requireFips && LibsodiumGcmKey.IsAvailable ? CipherBackend.Libsodium : CipherBackend.Bcl,
        };
    }

    /// <summary>Encrypts in place.</summary>
    public void Encrypt(ReadOnlySpan<byte> nonce, Span<byte> text, Span<byte> tag, ReadOnlySpan<byte> associatedData)
    {
        EncryptCore(nonce, text, tag, associatedData);
        Interlocked.MemoryBarrier();
        if (IsDisposed)
        {
            text.Clear();
            ObjectDisposedException.ThrowIf(true, this);
        }
    }

    /// <summary>Decrypts; false when the tag does not verify (then <paramref name="text"/> is cleared).</summary>
    public bool TryDecrypt(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> ciphertext, ReadOnlySpan<byte> tag, ReadOnlySpan<byte> associatedData, Span<byte> text)
    {
        if (TryDecryptCore(nonce, ciphertext, tag, associatedData, text))
        {
            return true;
        }

        text.Clear();
        Interlocked.MemoryBarrier();
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        return false;
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            Interlocked.MemoryBarrier();
            Zero();
        }
    }

    protected abstract void EncryptCore(ReadOnlySpan<byte> nonce, Span<byte> text, Span<byte> tag, ReadOnlySpan<byte> associatedData);

    protected abstract bool TryDecryptCore(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> ciphertext, ReadOnlySpan<byte> tag, ReadOnlySpan<byte> associatedData, Span<byte> text);

    protected abstract void Zero();
}

/// <summary>The BCL's AesGcm objects are not thread safe (two threads on one gave wrong results without an exception): each operation takes one for itself.</summary>
internal sealed class BclGcmKey : GcmKey
{
    private readonly byte[] _key = GC.AllocateUninitializedArray<byte>(32, pinned: true);
    private readonly AesGcm?[] _pool = new AesGcm?[Math.Clamp(Environment.ProcessorCount, 1, 16)];

    public BclGcmKey(ReadOnlySpan<byte> key) => key.CopyTo(_key);

    protected override void EncryptCore(ReadOnlySpan<byte> nonce, Span<byte> text, Span<byte> tag, ReadOnlySpan<byte> associatedData)
    {
        var cipher = Rent();
        try
        {
            cipher.Encrypt(nonce, text, text, tag, associatedData);
        }
        finally
        {
            Return(cipher);
        }
    }

    protected override bool TryDecryptCore(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> ciphertext, ReadOnlySpan<byte> tag, ReadOnlySpan<byte> associatedData, Span<byte> text)
    {
        var cipher = Rent();
        try
        {
            cipher.Decrypt(nonce, ciphertext, tag, text, associatedData);
            return true;
        }
        catch (AuthenticationTagMismatchException)
        {
            return false;
        }
        finally
        {
            Return(cipher);
        }
    }

    protected override void Zero()
    {
        CryptographicOperations.ZeroMemory(_key);
        for (var i = 0; i < _pool.Length; i++)
        {
            Interlocked.Exchange(ref _pool[i], null)?.Dispose();
        }
    }

    private AesGcm Rent()
    {
        var start = Environment.CurrentManagedThreadId % _pool.Length;
        for (var i = 0; i < _pool.Length; i++)
        {
            var slot = start + i < _pool.Length ? start + i : start + i - _pool.Length;
            if (Interlocked.Exchange(ref _pool[slot], null) is { } pooled)
            {
                return pooled;
            }
        }

        var made = new AesGcm(_key, 16);
        Interlocked.MemoryBarrier();
        if (IsDisposed)
        {
            made.Dispose();
            ObjectDisposedException.ThrowIf(true, this);
        }

        return made;
    }

    private void Return(AesGcm cipher)
    {
        var start = Environment.CurrentManagedThreadId % _pool.Length;
        for (var i = 0; i < _pool.Length && !IsDisposed; i++)
        {
            var slot = start + i < _pool.Length ? start + i : start + i - _pool.Length;
            if (Interlocked.CompareExchange(ref _pool[slot], cipher, null) is null)
            {
                if (IsDisposed)
                {
                    Interlocked.Exchange(ref _pool[slot], null)?.Dispose();
                }

                return;
            }
        }

        cipher.Dispose();
    }
}
