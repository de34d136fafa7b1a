using System.Security.Cryptography;

namespace EfEnvelope.Cryptography;

/// <summary>
/// Nonces and session ids from the system's CSPRNG, in per-thread batches of at most 512 bytes. Bytes are dropped unused when
/// <see cref="EnvelopeRandomness.Reset"/> was called after they were drawn, and cleared as they are handed out.
/// </summary>
internal static class RandomSource
{
    public const int BufferBytes = 512;

    [ThreadStatic]
    private static ThreadBuffer? t_buffer;

    /// <summary>Changes with every reset; what was drawn under another generation must not be used.</summary>
    public static int Generation => EnvelopeRandomness.Generation;

    public static bool Buffering
    {
        get => EnvelopeRandomness.Buffering;
        set => EnvelopeRandomness.Buffering = value;
    }

    public static void Reset() => EnvelopeRandomness.Reset();

    public static void Fill(Span<byte> destination)
    {
        if (!EnvelopeRandomness.Buffering || destination.Length > BufferBytes / 8)
        {
            Draw(destination);
            return;
        }

        (t_buffer ??= new ThreadBuffer()).Take(destination);
    }

    /// <summary>What this thread has drawn ahead and would still use; for tests.</summary>
    internal static byte[] PeekBuffered() => t_buffer?.Peek() ?? [];

    // OpenSSL, behind the BCL's generator, keeps a generator state of its own in the process: it notices a fork, but not a restored snapshot.
    // libsodium asks the kernel each time. Where the BCL is chosen (FIPS), its generator is used.
    private static unsafe void Draw(Span<byte> destination)
    {
        if (CipherBackends.Default.Kind != CipherBackend.Libsodium)
        {
            RandomNumberGenerator.Fill(destination);
            return;
        }

        fixed (byte* p = destination)
        {
            Sodium.RandomBytes(p, (nuint)destination.Length);
        }
    }

    private sealed class ThreadBuffer
    {
        private readonly byte[] _bytes = new byte[BufferBytes];
        private int _position = BufferBytes;
        private int _generation;

        public byte[] Peek() => _generation == Generation ? _bytes[_position..] : [];

        public void Take(Span<byte> destination)
        {
            var generation = Generation;
            if (generation != _generation || BufferBytes - _position < destination.Length)
            {
                Draw(_bytes);
                _position = 0;
                _generation = generation;
            }

            var taken = _bytes.AsSpan(_position, destination.Length);
            taken.CopyTo(destination);
            taken.Clear();
            _position += destination.Length;
        }
    }
}
