using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace EfEnvelope.Cryptography;

/// <summary>libsodium's AES-256-GCM with the key schedule computed once. The state is only read afterwards, so threads share it.</summary>
internal sealed unsafe class LibsodiumBackend : AeadBackend
{
    public static LibsodiumBackend Instance { get; } = new();

    public override CipherBackend Kind => CipherBackend.Libsodium;

    public override SubKeyCipher CreateCipher(ReadOnlySpan<byte> key) => new Cipher(key);

    private sealed class Cipher : SubKeyCipher
    {
        private void* _state;

        public Cipher(ReadOnlySpan<byte> key)
        {
            if (key.Length != 32)
            {
                throw new ArgumentException("A key has 32 bytes.", nameof(key));
            }

            _state = NativeMemory.AlignedAlloc(Sodium.StateBytes, 16);
            fixed (byte* k = key)
            {
                _ = Sodium.BeforeNm(_state, k);
            }
        }

        // A key that nobody disposed must not leave its schedule behind.
        ~Cipher() => Free();

        public override void Encrypt(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> plaintext, Span<byte> ciphertext, Span<byte> tag, ReadOnlySpan<byte> associatedData)
        {
            if (nonce.Length != 12 || tag.Length != 16 || plaintext.Length != ciphertext.Length)
            {
                throw new ArgumentException("AES-GCM takes a 12-byte nonce, a 16-byte tag and spans of one length.");
            }

            ulong macLength;
            fixed (byte* n = nonce, m = plaintext, c = ciphertext, t = tag, ad = associatedData)
            {
                if (Sodium.EncryptDetached(c, t, &macLength, m, (ulong)plaintext.Length, ad, (ulong)associatedData.Length, null, n, _state) != 0)
                {
                    throw new CryptographicException("AES-GCM encryption failed.");
                }
            }

            GC.KeepAlive(this);
        }

        public override bool TryDecrypt(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> ciphertext, ReadOnlySpan<byte> tag, Span<byte> plaintext, ReadOnlySpan<byte> associatedData)
        {
            if (nonce.Length != 12 || tag.Length != 16 || plaintext.Length != ciphertext.Length)
            {
                throw new ArgumentException("AES-GCM takes a 12-byte nonce, a 16-byte tag and spans of one length.");
            }

            int result;
            fixed (byte* n = nonce, m = plaintext, c = ciphertext, t = tag, ad = associatedData)
            {
                // A null m means "verify only" to libsodium, which is what an empty message needs.
                result = Sodium.DecryptDetached(m, null, c, (ulong)ciphertext.Length, t, ad, (ulong)associatedData.Length, n, _state);
            }

            GC.KeepAlive(this);
            if (result == 0)
            {
                return true;
            }

            CryptographicOperations.ZeroMemory(plaintext);
            return false;
        }

        [SuppressMessage("Usage", "CA1816", Justification = "Free is this type's dispose: it runs when the last use has left.")]
        protected override void Free()
        {
            var state = _state;
            if (state is null)
            {
                return;
            }

            _state = null;
            Sodium.Zero(state, Sodium.StateBytes);
            NativeMemory.AlignedFree(state);
            GC.SuppressFinalize(this);
        }
    }
}
