using System.Security.Cryptography;

namespace EfEnvelope.Cryptography;

/// <summary>
/// Random bytes from the system's CSPRNG, through a buffer of at most 512 bytes a thread (a system call per nonce costs more than the cipher). Bytes are handed out once and zeroed.
/// <see cref="Reset"/> raises the generation: no byte, and no write session, that was drawn before it is used after it (FORMAT.md, Randomness). Thread safe.
/// </summary>
internal static class RandomSource
{
    public const int BufferSize = 512;

    private static int _generation;
    private static volatile bool _buffering = true;

    [ThreadStatic]
    private static byte[]? _buffer;

    [ThreadStatic]
    private static int _position;

    [ThreadStatic]
    private static int _bufferGeneration;

    /// <summary>Rises with every reset.</summary>
    public static int Generation => Volatile.Read(ref _generation);

    public static bool Buffering
    {
        get => _buffering;
        set
        {
            _buffering = value;
            Reset();
        }
    }

    public static void Reset() => Interlocked.Increment(ref _generation);

    public static void Fill(Span<byte> destination)
    {
        if (!_buffering || destination.Length > BufferSize / 4)
        {
            RandomNumberGenerator.Fill(destination);
            return;
        }

        var buffer = _buffer ??= GC.AllocateArray<byte>(BufferSize, pinned: true);
        var generation = Generation;
        if (_bufferGeneration != generation || _position + destination.Length > BufferSize || _position == 0)
        {
            RandomNumberGenerator.Fill(buffer);
            _bufferGeneration = generation;
            _position = 0;
        }

        var bytes = buffer.AsSpan(_position, destination.Length);
        bytes.CopyTo(destination);
        bytes.Clear();
        _position += destination.Length;
    }

    public static byte[] GetBytes(int count)
    {
        var bytes = new byte[count];
        Fill(bytes);
        return bytes;
    }
}
