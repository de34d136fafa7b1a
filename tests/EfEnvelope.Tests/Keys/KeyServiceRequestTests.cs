using System.Text.Json.Nodes;
using EfEnvelope.KeyManagement;
using EfEnvelope.Keys;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.KeyManagement.FakeKms;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Time.Testing;

namespace EfEnvelope.Tests.Keys;

public sealed class SqliteKeyServiceRequestTests() : KeyServiceRequestTests("SQLite");

public sealed class PostgresKeyServiceRequestTests() : KeyServiceRequestTests("PostgreSQL");

/// <summary>What the key service is told: the pinned key, the exact context, and nobody's name (G10, G11).</summary>
public abstract class KeyServiceRequestTests(string provider) : IAsyncLifetime
{
    private static readonly Guid Tenant = Guid.Parse("aaaaaaaa-0000-0000-0000-00000000ca4a");

    private FakeKmsServer _server = null!;
    private TestDatabase _database = null!;
    private string _arn = null!;

    public async Task InitializeAsync()
    {
        _server = await FakeKmsServer.StartAsync();
        _arn = _server.CreateKey("alias/banking");
        _database = await TestDatabase.CreateAsync(provider);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        context.Add(new Customer { TenantId = Tenant, FullName = "canary", Ssn = "s" });
        context.Add(new PaymentCard { TenantId = Tenant, Number = "canary" });
        await context.SaveChangesAsync();
    }

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        await _database.DisposeAsync();
    }

    [Fact]
    public async Task Every_decrypt_names_the_key_and_the_exact_context_and_no_request_names_anybody()
    {
        await using (var cold = New())
        {
            Assert.Equal("canary", (await cold.Customers.SingleAsync()).FullName);
            Assert.Equal("canary", (await cold.Cards.SingleAsync()).Number);
            await new EnvelopeKeys(cold).RotateAsync(EnvelopeScope.Tenant(Tenant));
            await new EnvelopeKeys(cold).RewrapAsync();
        }

        await using var process = new RingProcess(_database, new InMemoryKeyManagementService());
        var ring = await process.Store.GetIdentityAsync(default);
        var expected = new Dictionary<string, string>
        {
            ["field"] = KmsContext.ScopeHash(ring.Salt, $"tenant:{Tenant}"),
            ["kek"] = KmsContext.ScopeHash(ring.Salt, $"tenant:{Tenant}"),
            ["mac"] = KmsContext.ScopeHash(ring.Salt, "global"),
        };
        var decrypts = 0;
        foreach (var (operation, body) in _server.Requests)
        {
            Assert.DoesNotContain("canary", body, StringComparison.OrdinalIgnoreCase);
            Assert.DoesNotContain(Tenant.ToString(), body, StringComparison.OrdinalIgnoreCase);
            var request = JsonNode.Parse(body)!.AsObject();
            var context = (request["EncryptionContext"] ?? request["SourceEncryptionContext"])?.AsObject();
            if (operation == "DescribeKey")
            {
                continue;
            }

            Assert.NotNull(context);
            Assert.Equal(["app", "efenvelope:purpose", "efenvelope:ring", "efenvelope:scope", "efenvelope:v"], context.Select(p => p.Key).Order(StringComparer.Ordinal));
            Assert.Equal(("1", "banking", ring.Id.ToString("D")), (Text("efenvelope:v"), Text("app"), Text("efenvelope:ring")));
            Assert.Equal(expected[Text("efenvelope:purpose")], Text("efenvelope:scope"));
            if (operation == "Decrypt")
            {
                decrypts++;
                Assert.Equal(_arn, request["KeyId"]!.GetValue<string>());
            }

            string Text(string name) => context[name]!.GetValue<string>();
        }

        // The cold process unwraps each of the three once; whoever made them needed no call.
        Assert.Equal(3, decrypts);
    }

    [Fact]
    public async Task Another_fixed_pair_is_another_context_and_is_refused()
    {
        await using var context = New("app=other");
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => context.Customers.ToListAsync());
        await using var shifted = New("ap=pbanking");
        await Assert.ThrowsAsync<KeyRingTamperedException>(() => shifted.Customers.ToListAsync());
    }

    [Theory]
    [InlineData("efenvelope:scope=x")]
    [InlineData("=x")]
    [InlineData("x")]
    public async Task A_fixed_pair_that_would_forge_the_context_is_refused(string pair)
    {
        await using var context = New(pair);
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => context.Customers.ToListAsync());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task In_an_outage_at_the_revalidation_whole_queries_and_saves_are_served_on(bool refusal)
    {
        var clock = new FakeTimeProvider();
        await using var context = New(clock: clock);
        Assert.Equal("canary", (await context.Customers.AsNoTracking().SingleAsync()).FullName);
        Assert.Equal("canary", (await context.Cards.AsNoTracking().SingleAsync()).Number);
        clock.Advance(TimeSpan.FromHours(2));
        _server.FailNext(refusal ? "DisabledException" : "InternalFailure", refusal ? 400 : 503, times: 10_000);
        if (refusal)
        {
            await Assert.ThrowsAsync<KeyRefusedException>(() => context.Customers.AsNoTracking().ToListAsync());
            await Assert.ThrowsAsync<KeyRefusedException>(() => context.Cards.AsNoTracking().ToListAsync());
            context.Add(new Customer { TenantId = Tenant, FullName = "more", Ssn = "s" });
            await Assert.ThrowsAsync<KeyRefusedException>(() => context.SaveChangesAsync());
            return;
        }

        Assert.Equal("canary", (await context.Customers.AsNoTracking().SingleAsync()).FullName);
        Assert.Equal("canary", (await context.Cards.AsNoTracking().SingleAsync()).Number);
        (await context.Cards.SingleAsync()).Holder = "holder";
        context.Add(new Customer { TenantId = Tenant, FullName = "more", Ssn = "s" });
        Assert.Equal(2, await context.SaveChangesAsync());
    }

    [Fact]
    public async Task Ten_thousand_rows_that_name_unknown_keys_cost_no_call_of_the_key_service()
    {
        await _database.ExecuteAsync(provider == "SQLite" ? """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
            INSERT INTO "Cards" ("TenantId", "Label", "Number", "EnvelopeRowId")
            SELECT c."TenantId", 'x', CAST(substr(c."Number", 1, 3) || randomblob(16) || substr(c."Number", 20) AS BLOB), upper(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-' || hex(randomblob(2)) || '-' || hex(randomblob(2)) || '-' || hex(randomblob(6)))
            FROM n, (SELECT * FROM "Cards" LIMIT 1) c
            """ : """
            INSERT INTO "Cards" ("TenantId", "Label", "Number", "EnvelopeRowId")
            SELECT c."TenantId", 'x', substr(c."Number", 1, 3) || decode(md5(random()::text), 'hex') || substr(c."Number", 20), gen_random_uuid()
            FROM generate_series(1, 10000) n, (SELECT * FROM "Cards" LIMIT 1) c
            """);
        await using var context = New();
        Assert.Single(await context.Customers.ToListAsync());
        var before = _server.Requests.Count;
        await Assert.ThrowsAsync<KeyNotFoundInRingException>(() => context.Cards.AsNoTracking().Where(c => c.Label == "x").ToListAsync());
        Assert.Equal(before, _server.Requests.Count);
    }

    private BankContext New(string pairs = "app=banking", FakeTimeProvider? clock = null)
    {
        clock ??= new FakeTimeProvider();
        var kms = new AwsKeyManagementService(new AwsKmsOptions { KeyId = "alias/banking" }, _server.CreateClient());
        return new BankContext(_database.Options(e => e.UseKeyManagementService(kms).UseTimeProvider(clock).With(o => o with { EncryptionContext = pairs })));
    }
}
