using System.Security.Cryptography;

namespace EfEnvelope.Cryptography;

/// <summary>The BCL's AES-GCM. An <see cref="AesGcm"/> used by two threads at once returns wrong results without an exception, hence the pool: a use owns its object.</summary>
internal sealed class BclBackend : AeadBackend
{
    public override CipherBackend Kind => CipherBackend.Bcl;

    public override SubKeyCipher CreateCipher(ReadOnlySpan<byte> key) => new Cipher(key);

    private sealed class Cipher : SubKeyCipher
    {
        private const int SlotCount = 16;
        private readonly byte[] _key = GC.AllocateUninitializedArray<byte>(32, pinned: true);
        private readonly AesGcm?[] _slots = new AesGcm?[SlotCount];

        public Cipher(ReadOnlySpan<byte> key) => key.CopyTo(_key);

        public override void Encrypt(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> plaintext, Span<byte> ciphertext, Span<byte> tag, ReadOnlySpan<byte> associatedData)
        {
            var gcm = Rent(out var slot);
            gcm.Encrypt(nonce, plaintext, ciphertext, tag, associatedData);
            Return(gcm, slot);
        }

        public override bool TryDecrypt(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> ciphertext, ReadOnlySpan<byte> tag, Span<byte> plaintext, ReadOnlySpan<byte> associatedData)
        {
            var gcm = Rent(out var slot);
            try
            {
                gcm.Decrypt(nonce, ciphertext, tag, plaintext, associatedData);
                return true;
            }
            catch (AuthenticationTagMismatchException)
            {
                CryptographicOperations.ZeroMemory(plaintext);
                return false;
            }
            finally
            {
                Return(gcm, slot);
            }
        }

        protected override void Free()
        {
            CryptographicOperations.ZeroMemory(_key);
            foreach (ref var slot in _slots.AsSpan())
            {
                Interlocked.Exchange(ref slot, null)?.Dispose();
            }
        }

        private AesGcm Rent(out int slot)
        {
            slot = Environment.CurrentManagedThreadId & (SlotCount - 1);
            return Interlocked.Exchange(ref _slots[slot], null) ?? new AesGcm(_key, 16);
        }

        private void Return(AesGcm gcm, int slot) => Interlocked.Exchange(ref _slots[slot], gcm)?.Dispose();
    }
}
