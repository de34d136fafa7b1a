using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;
using EfEnvelope.KeyManagement;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Keys;

/// <summary>After eviction nothing of a key is in the memory of the process (G17): its material, its AEAD key, its sub-keys.</summary>
public sealed class MemoryImageTests : IAsyncLifetime
{
    private readonly RememberingService _kms = new();
    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync("SQLite");
        _database.KeyService = _kms;
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData(CipherBackend.Libsodium)]
    [InlineData(CipherBackend.Bcl)]
    public async Task After_dispose_no_copy_of_a_key_is_in_the_process(CipherBackend backend)
    {
        var held = await UseAsync(backend, _database);

        // The search works: while the keys were held, it found them.
        Assert.Contains("an unwrapped key", held);
        Assert.Contains("the AEAD key of a row key", held);
        Assert.Contains("a sub-key", held);
        Assert.Equal([], MemoryImage.Find(_kms.Masked));
    }

    [Fact]
    public async Task After_an_eviction_no_copy_of_a_key_is_in_the_process_while_the_others_are()
    {
        const int Max = 16;
        await using var process = await new RingProcess(_database, _kms, new KeyRingOptions { MaxCachedKeys = Max }).CreateAsync();
        await process.Ring.ComputeMacAsync(new byte[1], process.Store, default);
        var keys = new List<(Guid Id, List<(string What, byte[] Masked)> Needles)>();
        for (var i = 0; i < 2 * Max; i++)
        {
            var known = _kms.Masked.Count;
            keys.Add((await process.SealAsync($"tenant:{i}"), [.. _kms.Masked.Skip(known)]));
        }

        var (held, evicted) = (keys.Where(k => process.Ring.Holds(k.Id)).ToList(), keys.Where(k => !process.Ring.Holds(k.Id)).ToList());
        Assert.True(held.Count > 0 && evicted.Count >= Max, $"{held.Count} held, {evicted.Count} evicted");
        Assert.Contains("a generated key", MemoryImage.Find([.. held.SelectMany(k => k.Needles)]));
        Assert.Equal([], MemoryImage.Find([.. evicted.SelectMany(k => k.Needles)]));
    }

    [Fact]
    public async Task New_keys_that_could_not_be_committed_are_not_left_in_the_process()
    {
        await using var process = await new RingProcess(_database, _kms).CreateAsync();
        process.Store.BeforeInsert = () => throw new KeyUnavailableException("Out of reach (injected).");
        await Assert.ThrowsAsync<KeyUnavailableException>(() => process.SealAsync());
        process.Store.BeforeInsert = null;
        var lost = _kms.Masked.ToList();
        await process.Ring.ComputeMacAsync(new byte[1], process.Store, default);
        var made = _kms.Masked.Count;
        process.Store.BeforeInsert = () => throw new KeyUnavailableException("Out of reach (injected).");
        await Assert.ThrowsAsync<KeyUnavailableException>(() => process.SealAsync());
        lost.AddRange(_kms.Masked.Skip(made));

        // The mac key, and a field key.
        Assert.Equal(2, lost.Count(m => m.What == "a generated key"));
        Assert.Equal([], MemoryImage.Find(lost));
    }

    /// <summary>In a frame of its own: nothing of it is alive afterwards.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task<IReadOnlyCollection<string>> UseAsync(CipherBackend backend, TestDatabase database)
    {
        var clock = new Microsoft.Extensions.Time.Testing.FakeTimeProvider();
        var options = database.Options(e => e.With(o => o with { Cipher = backend }).UseTimeProvider(clock));
        KeyRing ring;
        await using (var context = new BankContext(options))
        {
            await context.Database.EnsureCreatedAsync();
            for (var i = 0; i < 3; i++)
            {
                var tenant = Guid.NewGuid();
                context.Add(new Customer { TenantId = tenant, FullName = "n", Ssn = "s" });
                context.Add(new PaymentCard { TenantId = tenant, Number = "c" });
            }

            await context.SaveChangesAsync();
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Parse((await new EnvelopeKeys(context).ListAsync()).First(k => k.Scope != "global").Scope));
            ring = EfEnvelope.Storage.EnvelopeSession.Of(context).Ring;
        }

        await using (var context = new BankContext(options))
        {
            Assert.Equal(3, (await context.Customers.ToListAsync()).Count);
            Assert.Equal(3, (await context.Cards.ToListAsync()).Count);
            var service = (RememberingService)database.KeyService;
            await service.RememberHeldAsync(ring, context, database);
        }

        var held = MemoryImage.Find(((RememberingService)database.KeyService).Masked);
        ring.Invalidate();
        return held;
    }

    /// <summary>Keeps what it hands out, masked, so that the test's own notes are not found.</summary>
    private sealed class RememberingService : IKeyManagementService
    {
        private readonly InMemoryKeyManagementService _inner = new();
        private readonly Lock _gate = new();

        public List<(string What, byte[] Masked)> Masked { get; } = [];

        public string Provider => _inner.Provider;

        public void Remember(string what, ReadOnlySpan<byte> material)
        {
            Span<byte> aead = stackalloc byte[32];
            lock (_gate)
            {
                Masked.Add((what, MemoryImage.Mask(material)));
                KeyDerivation.PurposeKey(KeyPurpose.Field, material, aead);
                Masked.Add(($"the AEAD key of {what}", MemoryImage.Mask(aead)));
                KeyDerivation.PurposeKey(KeyPurpose.Kek, material, aead);
                Masked.Add(($"the wrapping key of {what}", MemoryImage.Mask(aead)));
            }

            CryptographicOperations.ZeroMemory(aead);
        }

        /// <summary>The row keys, which the key service never sees, and the sub-keys of what the columns hold.</summary>
        public async Task RememberHeldAsync(KeyRing ring, BankContext context, TestDatabase database)
        {
            using var pins = new KeyPins();
            using var transient = new TransientKeys();
            var store = EfEnvelope.Storage.Ring.RingStoreFactory.For(context, null);
            var rows = await store.ListAsync(includeRowKeys: true, default);
            await ring.LoadForOpeningAsync([.. rows.Where(e => e.Purpose == KeyPurpose.Field).Select(e => e.Id)], store, transient, pins, default);
            for (var id = 1; id <= 3; id++)
            {
                Remember(pins, (byte[])(await database.ScalarAsync($"SELECT \"Number\" FROM \"Cards\" WHERE \"Id\" = {id}"))!, "a row key");
                Remember(pins, (byte[])(await database.ScalarAsync($"SELECT \"FullName\" FROM \"Customers\" WHERE \"Id\" = {id}"))!, "a tenant's key");
            }
        }

        private void Remember(KeyPins pins, byte[] envelope, string what)
        {
            Assert.True(EnvelopeCodec.TryReadKeyId(envelope, out var id) && pins.TryGet(id, out _));
            Assert.True(pins.TryGet(id, out var key));
            Span<byte> material = stackalloc byte[32];
            Span<byte> aead = stackalloc byte[32];
            Span<byte> prefix = stackalloc byte[12];
            Span<byte> subKey = stackalloc byte[32];
            key.Key.CopyMaterialTo(material);
            Remember(what, material);
            KeyDerivation.PurposeKey(KeyPurpose.Field, material, aead);
            "EfE1"u8.CopyTo(prefix);
            envelope.AsSpan(EnvelopeLayout.SessionOffset, 8).CopyTo(prefix[4..]);
            KeyDerivation.XaesSubKey(aead, prefix, subKey);
            lock (_gate)
            {
                Masked.Add(("a sub-key", MemoryImage.Mask(subKey)));
            }

            CryptographicOperations.ZeroMemory(material);
            CryptographicOperations.ZeroMemory(aead);
            CryptographicOperations.ZeroMemory(subKey);
        }

        public async Task<GeneratedKey> GenerateKeyAsync(IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
        {
            var generated = await _inner.GenerateKeyAsync(encryptionContext, cancellationToken);
            Remember("a generated key", generated.Plaintext);
            return generated;
        }

        public Task<WrappedKey> WrapAsync(ReadOnlyMemory<byte> key, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
            => _inner.WrapAsync(key, encryptionContext, cancellationToken);

        public async Task<byte[]> UnwrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
        {
            var key = await _inner.UnwrapAsync(wrapped, encryptionContext, cancellationToken);
            Remember("an unwrapped key", key);
            return key;
        }

        public Task<WrappedKey> RewrapAsync(WrappedKey wrapped, IReadOnlyDictionary<string, string> encryptionContext, CancellationToken cancellationToken)
            => _inner.RewrapAsync(wrapped, encryptionContext, cancellationToken);

        public Task<RootKeyDescription> DescribeRootKeyAsync(CancellationToken cancellationToken) => _inner.DescribeRootKeyAsync(cancellationToken);
    }
}
