namespace EfEnvelope.Cryptography;

/// <summary>
/// AES-256-GCM under one sub-key, shared by threads. Uses are counted: the key state is zeroed and freed when the owner has retired it and
/// the last use has left, so no thread ever works with zeroed or freed memory. Plaintext and ciphertext may be the same span.
/// </summary>
internal abstract class SubKeyCipher
{
    private int _uses = 1;
    private int _retired;

    /// <summary>Begins a use; false after the last one has left a retired cipher. Pair with <see cref="Exit"/>.</summary>
    public bool TryEnter()
    {
        var uses = Volatile.Read(ref _uses);
        while (uses > 0 && Volatile.Read(ref _retired) == 0)
        {
            var seen = Interlocked.CompareExchange(ref _uses, uses + 1, uses);
            if (seen == uses)
            {
                return true;
            }

            uses = seen;
        }

        return false;
    }

    public void Exit()
    {
        if (Interlocked.Decrement(ref _uses) == 0)
        {
            Free();
        }
    }

    /// <summary>Gives up the owner's use. Idempotent.</summary>
    public void Retire()
    {
        if (Interlocked.Exchange(ref _retired, 1) == 0)
        {
            Exit();
        }
    }

    public abstract void Encrypt(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> plaintext, Span<byte> ciphertext, Span<byte> tag, ReadOnlySpan<byte> associatedData);

    /// <summary>False, with the plaintext cleared, if the tag does not verify.</summary>
    public abstract bool TryDecrypt(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> ciphertext, ReadOnlySpan<byte> tag, Span<byte> plaintext, ReadOnlySpan<byte> associatedData);

    protected abstract void Free();
}
