using System.Collections.Concurrent;
using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace EfEnvelope.Cryptography;

/// <summary>
/// A key of the ring in memory: 32 bytes of material, the id that commits to it, and the AEAD key that it derives (FORMAT.md, Keys). Seals and opens with
/// XAES-256-GCM (C2SP): the first 12 bytes of the 24-byte nonce select a sub-key whose cipher object is kept. Thread safe. <see cref="Dispose"/> zeroes everything;
/// an operation that overlaps with it throws <see cref="ObjectDisposedException"/>.
/// </summary>
internal sealed class DataKey : IDisposable
{
    public const int Size = 32;
    public const int SessionSize = 8;
    public const int NonceSize = 12;
    public const int TagSize = 16;

    private const int ReadCacheSize = 64;
    private const long MaxMessages = 1L << 24;
    private const long MaxBlocks = 1L << 36;
    private static readonly TimeSpan MaxSessionAge = TimeSpan.FromHours(24);

    private readonly byte[] _material;
    private readonly CipherBackend _backend;
    private readonly TimeProvider _time;
    private readonly Lock _gate = new();
    private readonly ConcurrentDictionary<ulong, GcmKey> _reading = new();
    private byte[]? _aeadKey;
    private byte[]? _subKeyMask;
    private WriteSession? _writing;
    private ReadEntry? _lastRead;
    private volatile bool _disposed;

    private DataKey(KeyPurpose purpose, ReadOnlySpan<byte> material, CipherBackend backend, TimeProvider time)
    {
        _material = GC.AllocateUninitializedArray<byte>(Size, pinned: true);
        material.CopyTo(_material);
        _backend = backend;
        _time = time;
        Purpose = purpose;
        Id = DeriveId(purpose, material);
    }

    /// <summary>The key id, as a big-endian (RFC 9562) UUID.</summary>
    public Guid Id { get; }

    public KeyPurpose Purpose { get; }

    public bool IsDisposed => _disposed;

    /// <summary>Takes up 32 bytes of material; the caller zeroes its own copy.</summary>
    public static DataKey Import(KeyPurpose purpose, ReadOnlySpan<byte> material, CipherBackend backend = CipherBackend.Automatic, TimeProvider? time = null)
    {
        if (material.Length != Size)
        {
            throw new KeyRingTamperedException($"A data key must have {Size} bytes.");
        }

        return new DataKey(purpose, material, backend == CipherBackend.Automatic ? GcmKey.Select(backend, requireFips: false) : backend, time ?? TimeProvider.System);
    }

    /// <summary>Makes a key of 32 fresh random bytes.</summary>
    public static DataKey Generate(KeyPurpose purpose, CipherBackend backend = CipherBackend.Automatic, TimeProvider? time = null)
    {
        Span<byte> material = stackalloc byte[Size];
        RandomNumberGenerator.Fill(material);
        try
        {
            return Import(purpose, material, backend, time);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(material);
        }
    }

    public static Guid DeriveId(KeyPurpose purpose, ReadOnlySpan<byte> material)
    {
        Span<byte> id = stackalloc byte[16];
        HKDF.Expand(HashAlgorithmName.SHA256, material, id, IdInfo(purpose));
        return new Guid(id, bigEndian: true);
    }

    public void CopyMaterialTo(Span<byte> destination)
    {
        _material.CopyTo(destination);
        Interlocked.MemoryBarrier();
        ObjectDisposedException.ThrowIf(_disposed, this);
    }

    /// <summary>HMAC-SHA-256 under a key derived from a mac key.</summary>
    public byte[] ComputeMac(ReadOnlySpan<byte> data)
    {
        Span<byte> key = stackalloc byte[32];
        HKDF.Expand(HashAlgorithmName.SHA256, _material, key, "EfEnvelope/v1/mac"u8);
        Interlocked.MemoryBarrier();
        ObjectDisposedException.ThrowIf(_disposed, this);
        try
        {
            return HMACSHA256.HashData(key, data);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
        }
    }

    /// <summary>Seals in place with the current session; writes session and nonce into their places of the header.</summary>
    public void Seal(Span<byte> session, Span<byte> nonce, Span<byte> text, Span<byte> tag, ReadOnlySpan<byte> associatedData)
    {
        var writing = CurrentSession((text.Length + 15) >> 4);
        BinaryPrimitives.WriteUInt64BigEndian(session, writing.Session);
        RandomSource.Fill(nonce);
        writing.Cipher.Encrypt(nonce, text, tag, associatedData);
    }

    /// <summary>Seals in place with a given session and nonce: for known answers.</summary>
    public void SealWith(ReadOnlySpan<byte> session, ReadOnlySpan<byte> nonce, Span<byte> text, Span<byte> tag, ReadOnlySpan<byte> associatedData)
    {
        using var cipher = DeriveSubKey(BinaryPrimitives.ReadUInt64BigEndian(session));
        cipher.Encrypt(nonce, text, tag, associatedData);
    }

    /// <summary>Opens; false when the tag does not verify.</summary>
    public bool TryOpen(ReadOnlySpan<byte> session, ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> ciphertext, ReadOnlySpan<byte> tag, ReadOnlySpan<byte> associatedData, Span<byte> text)
    {
        var id = BinaryPrimitives.ReadUInt64BigEndian(session);
        var last = _lastRead;
        if (last is not null && last.Session == id)
        {
            try
            {
                return last.Cipher.TryDecrypt(nonce, ciphertext, tag, associatedData, text);
            }
            catch (ObjectDisposedException) when (!_disposed)
            {
                // Evicted by another thread while we used it: derive it again below.
            }
        }
        else if (_reading.TryGetValue(id, out var cached))
        {
            try
            {
                var opened = cached.TryDecrypt(nonce, ciphertext, tag, associatedData, text);
                _lastRead = new ReadEntry(id, cached);
                return opened;
            }
            catch (ObjectDisposedException) when (!_disposed)
            {
            }
        }

        var cipher = DeriveSubKey(id);
        if (!cipher.TryDecrypt(nonce, ciphertext, tag, associatedData, text))
        {
            cipher.Dispose();
            return false;
        }

        Remember(id, cipher);
        return true;
    }

    public void Dispose()
    {
        lock (_gate)
        {
            if (_disposed)
            {
                return;
            }

            _disposed = true;
            Interlocked.MemoryBarrier();
            CryptographicOperations.ZeroMemory(_material);
            CryptographicOperations.ZeroMemory(_aeadKey);
            CryptographicOperations.ZeroMemory(_subKeyMask);
            _writing?.Cipher.Dispose();
            foreach (var cipher in _reading.Values)
            {
                cipher.Dispose();
            }
        }
    }

    private static byte[] IdInfo(KeyPurpose purpose) => Encoding.ASCII.GetBytes($"EfEnvelope/v1/key-id\0{Name(purpose)}");

    private static string Name(KeyPurpose purpose) => purpose switch
    {
        KeyPurpose.Field => "field",
        KeyPurpose.Kek => "kek",
        KeyPurpose.Index => "index",
        KeyPurpose.Mac => "mac",
        _ => throw new ArgumentOutOfRangeException(nameof(purpose)),
    };

    private WriteSession CurrentSession(int blocks)
    {
        var writing = Volatile.Read(ref _writing);
        if (writing is not null && writing.Generation == RandomSource.Generation && writing.TryCount(blocks, _time))
        {
            return writing;
        }

        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_writing is { } other && other != writing && other.Generation == RandomSource.Generation && other.TryCount(blocks, _time))
            {
                return other;
            }

            var generation = RandomSource.Generation;
            Span<byte> session = stackalloc byte[SessionSize];
            RandomSource.Fill(session);
            var id = BinaryPrimitives.ReadUInt64BigEndian(session);
            var made = new WriteSession(id, DeriveSubKey(id), generation, _time.GetTimestamp());
            made.TryCount(blocks, _time);

            // The session that this one replaces may still be sealing on another thread: the collector takes it, its sub-key is zeroed with the process.
            if (_writing is { } replaced)
            {
                Remember(replaced.Session, replaced.Cipher);
            }

            Volatile.Write(ref _writing, made);
            return made;
        }
    }

    private void Remember(ulong session, GcmKey cipher)
    {
        lock (_gate)
        {
            if (_disposed)
            {
                cipher.Dispose();
                return;
            }

            if (_reading.Count >= ReadCacheSize)
            {
                foreach (var (old, evicted) in _reading)
                {
                    if (old != _writing?.Session && _reading.TryRemove(old, out _))
                    {
                        evicted.Dispose();
                        break;
                    }
                }
            }

            if (_reading.TryAdd(session, cipher))
            {
                _lastRead = new ReadEntry(session, cipher);
            }
            else if (_reading.TryGetValue(session, out var other) && other != cipher && _writing?.Cipher != cipher)
            {
                cipher.Dispose();
            }
        }
    }

    /// <summary>C2SP XAES-256-GCM: K1 = CMAC's first sub-key; Kx = AES(M1 xor K1) || AES(M2 xor K1), M = 0x00 i 'X' 0x00 || the first 12 nonce bytes.</summary>
    private GcmKey DeriveSubKey(ulong session)
    {
        Span<byte> block = stackalloc byte[32];
        Span<byte> subKey = stackalloc byte[32];
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_aeadKey is null)
            {
                var derived = GC.AllocateUninitializedArray<byte>(Size, pinned: true);
                HKDF.Expand(HashAlgorithmName.SHA256, _material, derived, Purpose switch
                {
                    KeyPurpose.Field => "EfEnvelope/v1/field"u8,
                    KeyPurpose.Kek => "EfEnvelope/v1/kek"u8,
                    _ => throw new InvalidOperationException("A key of this purpose neither seals nor opens."),
                });
                _aeadKey = derived;
            }

            using var aes = Aes.Create();
            aes.SetKey(_aeadKey);
            if (_subKeyMask is null)
            {
                var mask = GC.AllocateArray<byte>(16, pinned: true);
                aes.EncryptEcb(mask, mask, PaddingMode.None);
                var carry = 0;
                for (var i = 15; i >= 0; i--)
                {
                    var shifted = (mask[i] << 1) | carry;
                    carry = mask[i] >> 7;
                    mask[i] = (byte)shifted;
                }

                mask[15] ^= (byte)(carry * 0x87);
                _subKeyMask = mask;
            }

            for (var i = 0; i < 2; i++)
            {
                var half = block.Slice(16 * i, 16);
                half[1] = (byte)(i + 1);
                half[2] = (byte)'X';
                "EfE1"u8.CopyTo(half[4..]);
                BinaryPrimitives.WriteUInt64BigEndian(half[8..], session);
                for (var j = 0; j < 16; j++)
                {
                    half[j] ^= _subKeyMask[j];
                }
            }

            aes.EncryptEcb(block, subKey, PaddingMode.None);
        }

        try
        {
            return GcmKey.Create(_backend, subKey);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(subKey);
            CryptographicOperations.ZeroMemory(block);
        }
    }

    private sealed record ReadEntry(ulong Session, GcmKey Cipher);

    private sealed class WriteSession(ulong session, GcmKey cipher, int generation, long startedAt)
    {
        private long _messages;
        private long _blocks;

        /// <summary>The tick count is monotonic too, and an order of magnitude cheaper than a time stamp.</summary>
        private TimeSpan Age(TimeProvider time)
            => ReferenceEquals(time, TimeProvider.System) ? TimeSpan.FromMilliseconds(Environment.TickCount64 - _startedTick) : time.GetElapsedTime(startedAt);

        public ulong Session => session;

        public GcmKey Cipher => cipher;

        public int Generation => generation;

        private readonly long _startedTick = Environment.TickCount64;

        public bool TryCount(int blocks, TimeProvider time)
        {
            var messages = Interlocked.Increment(ref _messages);
            return messages <= MaxMessages
                && Interlocked.Add(ref _blocks, blocks) <= MaxBlocks
                && Age(time) < MaxSessionAge;
        }
    }
}
