using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace EfEnvelope.Cryptography;

/// <summary>
/// A data key in memory: its 32 bytes, its id, and the sub-key ciphers made from it. Thread safe. Disposing zeroes everything; a seal or
/// open that is under way completes or fails with <see cref="ObjectDisposedException"/>.
/// </summary>
internal sealed class DataKey : IDisposable
{
    public const int MaterialBytes = 32;

    private readonly Lock _gate = new();

    /// <summary>The material, and behind it the key that is derived for its purpose.</summary>
    private readonly byte[] _secrets = GC.AllocateArray<byte>(MaterialBytes + 32, pinned: true);
    private readonly AeadBackend _backend;
    private readonly TimeProvider _time;

    /// <summary>The cipher of the first other session that was met. A row's key meets one, and millions of them hold no dictionary.</summary>
    private volatile KeptReader? _reader;
    private volatile ConcurrentDictionary<ulong, KeptReader>? _readers;
    private volatile WriteSession? _session;
    private volatile bool _disposed;

    private DataKey(KeyPurpose purpose, ReadOnlySpan<byte> material, AeadBackend? backend, TimeProvider? time)
    {
        Id = KeyDerivation.KeyId(purpose, material);
        Purpose = purpose;
        _backend = backend ?? CipherBackends.Default;
        _time = time ?? TimeProvider.System;
        material.CopyTo(_secrets);
        if (purpose is KeyPurpose.Field or KeyPurpose.Kek or KeyPurpose.Mac)
        {
            KeyDerivation.PurposeKey(purpose, material, Derived);
        }
    }

    public Guid Id { get; }

    public KeyPurpose Purpose { get; }

    public bool IsDisposed => _disposed;

    internal AeadBackend Backend => _backend;

    internal TimeProvider Time => _time;

    /// <summary>The session that the next seal would use; for tests.</summary>
    internal WriteSession? CurrentSession => _session;

    /// <summary>How many other sessions' ciphers are kept; for tests.</summary>
    internal int KeptReaders => (_reader is null ? 0 : 1) + (_readers?.Count ?? 0);

    private Span<byte> Derived => _secrets.AsSpan(MaterialBytes);

    /// <summary>Copies 32 bytes of key material; the caller clears its own.</summary>
    public static DataKey Import(KeyPurpose purpose, ReadOnlySpan<byte> material, AeadBackend? backend = null, TimeProvider? timeProvider = null)
    {
        CheckLength(material);
        return new DataKey(purpose, material, backend, timeProvider);
    }

    public static Guid DeriveId(KeyPurpose purpose, ReadOnlySpan<byte> material)
    {
        CheckLength(material);
        return KeyDerivation.KeyId(purpose, material);
    }

    public void CopyMaterialTo(Span<byte> destination)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            _secrets.AsSpan(0, MaterialBytes).CopyTo(destination);
        }
    }

    /// <summary>HMAC-SHA-256 (32 bytes) under the key that is derived from the material of a key of purpose "mac".</summary>
    public byte[] ComputeMac(ReadOnlySpan<byte> data)
    {
        var mac = new byte[HMACSHA256.HashSizeInBytes];
        ComputeMac(data, mac);
        return mac;
    }

    /// <inheritdoc cref="ComputeMac(ReadOnlySpan{byte})"/>
    public void ComputeMac(ReadOnlySpan<byte> data, Span<byte> mac)
    {
        if (Purpose != KeyPurpose.Mac)
        {
            throw new InvalidOperationException($"A key of purpose {Purpose} authenticates no data.");
        }

        Span<byte> key = stackalloc byte[32];
        try
        {
            lock (_gate)
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                Derived.CopyTo(key);
            }

            HMACSHA256.HashData(key, data, mac);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
        }
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
            CryptographicOperations.ZeroMemory(_secrets);
            _session?.Cipher.Retire();
            _session = null;
            RetireReaders();
        }
    }

    /// <summary>Seals in place with a fresh nonce; writes session and nonce (20 bytes). The nonce is never one drawn before a reset of the randomness.</summary>
    internal void Seal(Span<byte> sessionAndNonce, Span<byte> body, Span<byte> tag, ReadOnlySpan<byte> associatedData)
    {
        var blocks = (((long)body.Length + 15) >> 4) + ((associatedData.Length + 15) >> 4) + 1;
        var nonce = sessionAndNonce.Slice(8, 12);
        while (true)
        {
            var generation = RandomSource.Generation;
            var session = EnterSession(blocks);
            try
            {
                BinaryPrimitives.WriteUInt64BigEndian(sessionAndNonce, session.Id);
                RandomSource.Fill(nonce);
                session.Cipher.Encrypt(nonce, body, body, tag, associatedData);
                if (generation == RandomSource.Generation)
                {
                    return;
                }

                if (!session.Cipher.TryDecrypt(nonce, body, tag, body, associatedData))
                {
                    throw new CryptographicException("A value that was just sealed does not open.");
                }
            }
            finally
            {
                session.Cipher.Exit();
            }
        }
    }

    /// <summary>Seals in place with a given session and nonce: for known answers only.</summary>
    internal void SealWith(ReadOnlySpan<byte> sessionAndNonce, Span<byte> body, Span<byte> tag, ReadOnlySpan<byte> associatedData)
    {
        var cipher = DeriveCipher(BinaryPrimitives.ReadUInt64BigEndian(sessionAndNonce));
        try
        {
            cipher.Encrypt(sessionAndNonce.Slice(8, 12), body, body, tag, associatedData);
        }
        finally
        {
            cipher.Retire();
        }
    }

    /// <summary>False, with the plaintext cleared, if the tag does not verify.</summary>
    internal bool TryOpen(ReadOnlySpan<byte> sessionAndNonce, ReadOnlySpan<byte> body, ReadOnlySpan<byte> tag, Span<byte> plaintext, ReadOnlySpan<byte> associatedData)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        var id = BinaryPrimitives.ReadUInt64BigEndian(sessionAndNonce);
        var nonce = sessionAndNonce.Slice(8, 12);
        if (FindCipher(id) is { } known && known.TryEnter())
        {
            try
            {
                return known.TryDecrypt(nonce, body, tag, plaintext, associatedData);
            }
            finally
            {
                known.Exit();
            }
        }

        var cipher = DeriveCipher(id);
        var kept = false;
        ObjectDisposedException.ThrowIf(!cipher.TryEnter(), this);
        try
        {
            var opened = cipher.TryDecrypt(nonce, body, tag, plaintext, associatedData);
            kept = opened && Keep(id, cipher);
            return opened;
        }
        finally
        {
            if (!kept)
            {
                cipher.Retire();
            }

            cipher.Exit();
        }
    }

    /// <summary>Lets go of a kept cipher, to make room.</summary>
    internal void Release(KeptReader kept)
    {
        lock (_gate)
        {
            if (ReferenceEquals(_reader, kept))
            {
                _reader = null;
            }
            else if (_readers?.TryRemove(new(kept.Session, kept)) != true)
            {
                return;
            }
        }

        kept.Cipher.Retire();
    }

    private SubKeyCipher? FindCipher(ulong session)
    {
        if (_session is { } writes && writes.Id == session)
        {
            return writes.Cipher;
        }

        if (_reader is { } first && first.Session == session)
        {
            return first.Cipher;
        }

        return _readers is { } readers && readers.TryGetValue(session, out var kept) ? kept.Cipher : null;
    }

    private bool Keep(ulong session, SubKeyCipher cipher)
    {
        var kept = new KeptReader(this, session, cipher);
        lock (_gate)
        {
            if (_disposed || _reader?.Session == session)
            {
                return false;
            }

            if (_reader is null && _readers?.ContainsKey(session) != true)
            {
                _reader = kept;
            }
            else if (!(_readers ??= new(concurrencyLevel: 1, capacity: 1)).TryAdd(session, kept))
            {
                return false;
            }
        }

        ReadCipherCache.Add(kept);
        return true;
    }

    private WriteSession EnterSession(long blocks)
    {
        while (true)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            var session = _session;
            if (session is not null && session.Cipher.TryEnter())
            {
                if (session.TryCount(blocks, _time))
                {
                    return session;
                }

                session.Cipher.Exit();
            }

            Renew(session);
        }
    }

    private void Renew(WriteSession? finished)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (!ReferenceEquals(_session, finished))
            {
                return;
            }

            var generation = RandomSource.Generation;
            Span<byte> id = stackalloc byte[8];
            RandomSource.Fill(id);
            var number = BinaryPrimitives.ReadUInt64BigEndian(id);
            _session = new WriteSession(number, DeriveCipher(number), _time.GetTimestamp(), generation);
            finished?.Cipher.Retire();
        }
    }

    private SubKeyCipher DeriveCipher(ulong session)
    {
        Span<byte> prefix = stackalloc byte[12];
        "EfE1"u8.CopyTo(prefix);
        BinaryPrimitives.WriteUInt64BigEndian(prefix[4..], session);
        Span<byte> subKey = stackalloc byte[32];
        Span<byte> key = stackalloc byte[32];
        try
        {
            lock (_gate)
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                if (Purpose is not (KeyPurpose.Field or KeyPurpose.Kek))
                {
                    throw new InvalidOperationException($"A key of purpose {Purpose} neither seals nor opens.");
                }

                Derived.CopyTo(key);
            }

            KeyDerivation.XaesSubKey(key, prefix, subKey);
            return _backend.CreateCipher(subKey);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
            CryptographicOperations.ZeroMemory(subKey);
        }
    }

    private void RetireReaders()
    {
        _reader?.Cipher.Retire();
        _reader = null;
        foreach (var reader in _readers?.Values ?? [])
        {
            reader.Cipher.Retire();
        }

        _readers = null;
    }

    private static void CheckLength(ReadOnlySpan<byte> material)
    {
        if (material.Length != MaterialBytes)
        {
            throw new ArgumentException("A data key has 32 bytes.", nameof(material));
        }
    }
}
