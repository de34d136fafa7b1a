using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;
using EfEnvelope.Metadata;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reading;

public sealed class SqliteForgedCellTests() : ForgedCellTests("SQLite");

public sealed class PostgresForgedCellTests() : ForgedCellTests("PostgreSQL");

/// <summary>
/// Somebody copied one data key and writes to the database (G3a): what a column expects comes from the model, so a key opens nothing but what it was made for, however the cell is read.
/// </summary>
public abstract class ForgedCellTests(string provider) : IAsyncLifetime
{
    private static readonly Guid TenantA = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");
    private static readonly Guid TenantB = Guid.Parse("bbbbbbbb-0000-0000-0000-000000000002");
    private static readonly string ScopeA = $"tenant:{TenantA}";
    private static readonly string ScopeB = $"tenant:{TenantB}";
    private readonly Func<BankContext, int, Task<Customer>> _compiled = EF.CompileAsyncQuery((BankContext context, int id) => context.Customers.AsNoTracking().Single(c => c.Id == id));

    private TestDatabase _database = null!;
    private Forger _forger = null!;
    private int _id;

    private string Row => $"\"Id\" = {_id}";

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync(provider);
        _forger = new Forger(_database);
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
        var customer = NewCustomer(TenantA, "one");
        context.AddRange(customer, NewCustomer(TenantB, "two"));
        context.AddRange(new PaymentCard { TenantId = TenantA, Number = "card one", Label = "one" }, new PaymentCard { TenantId = TenantA, Number = "card two", Label = "two" });
        context.AddRange(new Ledger { Code = "CH", Year = 2026, Balance = 1 }, new Ledger { Code = "CH", Year = 2027, Balance = 2 });
        await context.SaveChangesAsync();
        _id = customer.Id;
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    /// <summary>The ways to read a customer's name that return its tenant too.</summary>
    private IEnumerable<(string Name, Func<BankContext, Task> Read)> ReadsOfTheRow() =>
    [
        ("tracked", c => c.Customers.Where(x => x.Id == _id).ToListAsync()),
        ("untracked", c => c.Customers.AsNoTracking().ToListAsync()),
        ("synchronous", c => Task.FromResult(c.Customers.ToList())),
        ("found", c => c.Customers.FindAsync(_id).AsTask()),
        ("streamed", StreamAsync),
        ("compiled", c => _compiled(c, _id)),
        ("raw SQL", c => c.Customers.FromSqlRaw("SELECT * FROM \"Customers\"").AsNoTracking().ToListAsync()),
        ("composed raw SQL", c => c.Customers.FromSqlRaw("SELECT * FROM \"Customers\"").Where(x => x.Id == _id).OrderBy(x => x.Id).ToListAsync()),
        ("included", c => c.Accounts.Where(a => a.CustomerId == _id).Include(a => a.Customer).ToListAsync()),
        ("split", c => c.Customers.Include(x => x.Accounts).AsSplitQuery().ToListAsync()),
        ("loaded", async c => await c.Entry(await c.Accounts.SingleAsync(a => a.CustomerId == _id)).Reference(a => a.Customer).LoadAsync()),
        ("reloaded", ReloadAsync),
        ("with its tenant", c => c.Customers.Select(x => new { x.TenantId, x.FullName }).ToListAsync()),
        ("chosen by a condition", c => c.Customers.Select(x => new { x.TenantId, Name = x.Branch == "main" ? x.FullName : null }).ToListAsync()),
        ("joined with its tenant", c => c.Accounts.Join(c.Customers, a => a.CustomerId, x => x.Id, (a, x) => new { a.Iban, x.TenantId, x.FullName }).ToListAsync()),
    ];

    /// <summary>The ways that return the name alone.</summary>
    private IEnumerable<(string Name, Func<BankContext, Task> Read)> ReadsOfTheCell() =>
    [
        ("alone", c => c.Customers.Where(x => x.Id == _id).Select(x => x.FullName).SingleAsync()),
        ("alone, synchronously", c => Task.FromResult(c.Customers.Select(x => x.FullName).ToList())),
        ("without its tenant", c => c.Customers.Select(x => new { x.Id, x.FullName }).ToListAsync()),
        ("of raw SQL alone", c => c.Customers.FromSqlRaw("SELECT * FROM \"Customers\"").Select(x => x.FullName).ToListAsync()),
        ("through a navigation", c => c.Accounts.Where(a => a.CustomerId == _id).Select(a => a.Customer!.FullName).ToListAsync()),
        ("in a subquery", c => c.Accounts.Select(a => new { a.Iban, Name = c.Customers.Where(x => x.Id == a.CustomerId).Select(x => x.FullName).FirstOrDefault() }).ToListAsync()),
    ];

    [Theory]
    [InlineData("the tenant's scope")]
    [InlineData("its own scope")]
    public async Task The_global_key_forges_no_cell_of_a_tenant_however_it_is_read(string authenticated)
    {
        using var key = await _forger.StealAsync("global");
        await _forger.PlantAsync("Customers", "FullName", Forger.Seal(key, "Customer.FullName", authenticated == "its own scope" ? "global" : ScopeA, "canary"), Row);
        await AssertRefusedAsync("Customer.FullName", key.Id, [.. ReadsOfTheRow(), .. ReadsOfTheCell()]);
    }

    [Fact]
    public async Task The_global_key_forges_no_cell_of_a_tenant_in_any_mapping()
    {
        using var key = await _forger.StealAsync("global");
        await using var context = New();
        foreach (var (type, property, table, column, read) in new (Type, string, string, string, Func<BankContext, Task>)[]
        {
            (typeof(Address), nameof(Address.Street), "Customers", "Home_Street", c => c.Customers.Select(x => x.Home.Street).ToListAsync()),
            (typeof(Customer), nameof(Customer.Note), "Customers", "Note", c => c.Customers.Select(x => x.Note).ToListAsync()),
            (typeof(Profile), nameof(Profile.Secret), "Customers", "Profile", c => c.Customers.Select(x => x.Profile!.Secret).ToListAsync()),
            (typeof(Device), nameof(Device.Serial), "Device", "Serial", c => c.Customers.SelectMany(x => x.Devices).Select(d => d.Serial).ToListAsync()),
        })
        {
            var columnId = context.Model.GetEntityTypes().Single(t => t.ClrType == type).FindProperty(property)!.FindEnvelope()!.ColumnId;
            var cell = Forger.Seal(key, columnId, ScopeA, "canary");
            var where = table == "Customers" ? Row : $"\"CustomerId\" = {_id}";
            var before = await _database.ScalarAsync($"SELECT \"{column}\" FROM \"{table}\" WHERE {where}");
            await _forger.PlantAsync(table, column, column switch
            {
                "Profile" => $"'{{\"Theme\":\"t\",\"Secret\":\"{TextArmor.Encode(cell)}\"}}'",
                "Note" => $"'{TextArmor.Encode(cell)}'",
                _ => _forger.Literal(cell),
            }, where);

            // Of a document the reader knows whose it is, not which member is wrong.
            await AssertRefusedAsync(column == "Profile" ? null : columnId, key.Id, [(column, c => c.Customers.AsNoTracking().ToListAsync())]);
            await AssertRefusedAsync(columnId, key.Id, [(column + " alone", read)]);
            await _forger.PlantAsync(table, column, before is byte[] bytes ? _forger.Literal(bytes) : $"'{before}'", where);
        }

        Assert.Equal("one", (await context.Customers.AsNoTracking().SingleAsync(c => c.Id == _id)).FullName);
    }

    [Fact]
    public async Task Another_tenants_key_forges_no_cell_where_the_row_is_read()
    {
        using var key = await _forger.StealAsync(ScopeB);
        await _forger.PlantAsync("Customers", "FullName", Forger.Seal(key, "Customer.FullName", ScopeB, "canary"), Row);
        await AssertRefusedAsync("Customer.FullName", key.Id, [.. ReadsOfTheRow()]);
    }

    /// <summary>JSON spells any character as an escape as well: whatever EF reads as armour is compared with the row, however it is written.</summary>
    [Theory]
    [InlineData("\\u0065fe1:")]
    [InlineData("efe1\\u003a")]
    [InlineData("\\u0065\\u0066\\u0065\\u0031\\u003A")]
    [InlineData("efe1:")]
    public async Task A_document_of_another_tenant_is_refused_however_its_armour_is_spelt(string prefix)
    {
        var cell = "efe1:" + (await SecretOfAsync("two"))["efe1:".Length..];
        foreach (var other in new[] { "", "\"Other\":\"\\ud800\"," })
        {
            var document = $"{{{other}\"Theme\":\"t\\n\",\"Secret\":\"{cell.Replace("efe1:", prefix, StringComparison.Ordinal)}\"}}";
            if (provider == "PostgreSQL" && other.Length > 0)
            {
                // No jsonb holds half a surrogate pair.
                continue;
            }

            await _forger.PlantAsync("Customers", "Profile", $"'{document}'", Row);
            foreach (var descending in new[] { false, true })
            {
                await using var context = New();
                var customers = context.Customers.AsNoTracking().OrderBy(c => c.Id);

                // Both tenants' keys are at hand: the own document of the other tenant is read by the same query.
                Assert.IsType<EnvelopeRefusedException>(await Record.ExceptionAsync(() => descending ? context.Customers.AsNoTracking().OrderByDescending(c => c.Id).ToListAsync() : customers.ToListAsync()));
                Assert.IsType<EnvelopeRefusedException>(await Record.ExceptionAsync(() => context.Customers.Where(c => c.Id == _id).ToListAsync()));
            }
        }
    }

    [Fact]
    public async Task Another_tenants_key_never_authenticates_this_tenants_scope()
    {
        using var key = await _forger.StealAsync(ScopeB);
        await _forger.PlantAsync("Customers", "FullName", Forger.Seal(key, "Customer.FullName", ScopeA, "canary"), Row);
        await AssertRefusedAsync("Customer.FullName", key.Id, [.. ReadsOfTheRow(), .. ReadsOfTheCell()]);
    }

    [Fact]
    public async Task A_tenants_key_forges_no_global_cell()
    {
        using var key = await _forger.StealAsync(ScopeA);
        foreach (var scope in new[] { ScopeA, "global" })
        {
            await _forger.PlantAsync("Accounts", "Iban", Forger.Seal(key, "Account.Iban", scope, "canary"), $"\"CustomerId\" = {_id}");
            await AssertRefusedAsync("Account.Iban", key.Id, [("entity", c => c.Accounts.ToListAsync()), ("alone", c => c.Accounts.Select(a => a.Iban).ToListAsync()), ("included", c => c.Customers.Include(x => x.Accounts).ToListAsync())]);
        }
    }

    [Fact]
    public async Task A_tenants_key_forges_no_cell_of_a_row_with_a_key_of_its_own()
    {
        using var key = await _forger.StealAsync(ScopeA);
        var rowScope = await RowScopeAsync("one");
        foreach (var scope in new[] { ScopeA, rowScope })
        {
            await _forger.PlantAsync("Cards", "Number", Forger.Seal(key, "PaymentCard.Number", scope, "canary"), "\"Label\" = 'one'");
            await AssertRefusedAsync("PaymentCard.Number", key.Id, [("entity", c => c.Cards.ToListAsync()), ("alone", c => c.Cards.Select(x => x.Number).ToListAsync()), ("raw SQL", c => c.Cards.FromSqlRaw("SELECT * FROM \"Cards\"").ToListAsync())]);
        }
    }

    [Fact]
    public async Task A_rows_key_forges_no_cell_of_another_row_nor_of_its_tenant()
    {
        using var key = await _forger.StealAsync(await RowScopeAsync("two"));
        await _forger.PlantAsync("Cards", "Number", Forger.Seal(key, "PaymentCard.Number", await RowScopeAsync("two"), "canary"), "\"Label\" = 'one'");
        await AssertRefusedAsync("PaymentCard.Number", key.Id, [("entity", c => c.Cards.ToListAsync()), ("tracked", c => c.Cards.AsTracking().Where(x => x.Label == "one").ToListAsync()), ("raw SQL", c => c.Cards.FromSqlRaw("SELECT * FROM \"Cards\"").ToListAsync())]);

        await _forger.PlantAsync("Customers", "FullName", Forger.Seal(key, "Customer.FullName", await RowScopeAsync("two"), "canary"), Row);
        await AssertRefusedAsync("Customer.FullName", key.Id, [.. ReadsOfTheRow(), .. ReadsOfTheCell()]);
    }

    [Fact]
    public async Task A_subjects_key_forges_no_cell_of_a_subject_of_another_name_and_the_same_value()
    {
        await using var database = await TestDatabase.CreateAsync(provider);
        await using var context = new AdHocContext(database.Options(more: AdHocContext.Cached), Wards);
        await context.Database.EnsureCreatedAsync();
        context.AddRange(new Patient { Number = 7, Diagnosis = "healthy" }, new Doctor { Number = 7, Note = "note" });
        await context.SaveChangesAsync();
        var forger = new Forger(database);
        using var key = await forger.StealAsync("subject:doctor/7");
        await forger.PlantAsync("Patient", "Diagnosis", Forger.Seal(key, "Patient.Diagnosis", "subject:patient/7", "canary"), "\"Number\" = 7");
        context.ChangeTracker.Clear();
        foreach (var read in new Func<Task>[] { () => context.Set<Patient>().ToListAsync(), () => context.Set<Patient>().Select(p => p.Diagnosis).ToListAsync() })
        {
            Assert.Equal(("Patient.Diagnosis", (Guid?)key.Id), ColumnAndKey(await Assert.ThrowsAsync<EnvelopeRefusedException>(read)));
        }

        await forger.PlantAsync("Patient", "Diagnosis", Forger.Seal(key, "Patient.Diagnosis", "subject:doctor/7", "canary"), "\"Number\" = 7");
        foreach (var read in new Func<Task>[] { () => context.Set<Patient>().ToListAsync(), () => context.Set<Patient>().Select(p => p.Diagnosis).ToListAsync() })
        {
            Assert.Equal(("Patient.Diagnosis", (Guid?)key.Id), ColumnAndKey(await Assert.ThrowsAsync<EnvelopeRefusedException>(read)));
        }

        static void Wards(ModelBuilder model)
        {
            model.Entity<Patient>().HasDataKeyPerSubject("patient", p => p.Number);
            model.Entity<Doctor>().HasDataKeyPerSubject("doctor", d => d.Number);
            model.UseEnvelopeEncryption();
        }
    }

    [Fact]
    public async Task An_envelope_without_a_row_does_not_pass_in_a_row_bound_column_nor_one_of_another_row()
    {
        using var key = await _forger.StealAsync("global");
        foreach (var rowId in new[] { null, "CH|2027", "CH%7C2026", "CH|2026|" })
        {
            await _forger.PlantAsync("Ledgers", "Balance", Forger.Seal(key, "Ledger.Balance", "global", 1_000_000m, rowId), "\"Year\" = 2026");
            await AssertRefusedAsync("Ledger.Balance", key.Id, [
                ("entity", c => c.Ledgers.ToListAsync()),
                ("projected with its key", c => c.Ledgers.Select(l => new { l.Code, l.Year, l.Balance }).ToListAsync()),
                ("raw SQL", c => c.Ledgers.FromSqlRaw("SELECT * FROM \"Ledgers\"").AsNoTracking().ToListAsync()),
                ("synchronous", c => Task.FromResult(c.Ledgers.ToList())),
            ]);
        }

        await using var context = New();
        await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Ledgers.Select(l => l.Balance).ToListAsync());
        await Assert.ThrowsAsync<EnvelopeQueryException>(() => context.Ledgers.Select(l => new { l.Code, l.Balance }).ToListAsync());
        await _forger.PlantAsync("Ledgers", "Balance", Forger.Seal(key, "Ledger.Balance", "global", 5m, "CH|2026"), "\"Year\" = 2026");
        Assert.Equal(5, (await context.Ledgers.SingleAsync(l => l.Year == 2026)).Balance);
    }

    [Fact]
    public async Task An_envelope_with_a_row_does_not_pass_in_a_column_that_is_not_bound()
    {
        using var key = await _forger.StealAsync("global");
        await _forger.PlantAsync("Accounts", "Iban", Forger.Seal(key, "Account.Iban", "global", "canary", "1"), $"\"CustomerId\" = {_id}");
        await AssertRefusedAsync("Account.Iban", key.Id, [("entity", c => c.Accounts.ToListAsync()), ("alone", c => c.Accounts.Select(a => a.Iban).ToListAsync())]);
    }

    /// <summary>The ring's blobs are envelopes too, and name keys of the ring: none of another purpose opens a cell.</summary>
    [Fact]
    public async Task A_wrapped_key_of_the_ring_and_keys_of_other_purposes_do_not_open_as_cells()
    {
        var wrapped = (byte[])(await _database.ScalarAsync("SELECT \"Wrapped\" FROM \"EnvelopeKeys\" WHERE \"KekId\" IS NOT NULL"))!;
        Assert.True(EnvelopeCodec.TryReadKeyId(wrapped, out var kekId));
        using var key = DataKey.Import(KeyPurpose.Field, new byte[32]);
        var macId = (await MacAsync()).ToByteArray(bigEndian: true);
        byte[] namesMac = Forger.Seal(key, "Customer.FullName", ScopeA, "canary");
        macId.CopyTo(namesMac, 3);
        foreach (var (cell, id) in new[] { (wrapped, kekId), (namesMac, new Guid(macId, bigEndian: true)) })
        {
            await _forger.PlantAsync("Customers", "FullName", cell, Row);
            foreach (var (name, read) in ReadsOfTheRow().Concat(ReadsOfTheCell()))
            {
                await using var context = New();
                var error = await Record.ExceptionAsync(() => read(context));
                Assert.True(error is EnvelopeEncryptionException { KeyId: { } named } && named == id, $"{name}: {error}");
            }
        }
    }

    [Fact]
    public async Task A_genuine_value_of_another_encoding_or_column_is_refused()
    {
        using var key = await _forger.StealAsync(ScopeA);
        foreach (var cell in new[]
        {
            Forger.Seal(key, "Customer.FullName", ScopeA, "canary"u8.ToArray()),
            Forger.Seal(key, "Customer.FullName", ScopeA, 7),
            Forger.Seal(key, "Customer.Ssn", ScopeA, "canary"),
            Forger.Seal(key, "customer.FullName", ScopeA, "canary"),
        })
        {
            await _forger.PlantAsync("Customers", "FullName", cell, Row);
            await AssertRefusedAsync("Customer.FullName", key.Id, [.. ReadsOfTheRow(), .. ReadsOfTheCell()]);
        }
    }

    [Fact]
    public async Task The_protector_refuses_what_a_query_refuses()
    {
        using var global = await _forger.StealAsync("global");
        using var other = await _forger.StealAsync(ScopeB);
        await using var context = New();
        var protector = new EnvelopeProtector(context);
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => protector.OpenAsync((Customer c) => c.FullName, Forger.Seal(global, "Customer.FullName", ScopeA, "canary")));
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => protector.OpenAsync((Customer c) => c.FullName, Forger.Seal(global, "Customer.FullName", "global", "canary")));
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => protector.OpenAsync((Customer c) => c.FullName, Forger.Seal(other, "Customer.FullName", ScopeB, "canary"), EnvelopeScope.Tenant(TenantA)));
    }

    private async Task AssertRefusedAsync(string? columnId, Guid keyId, IEnumerable<(string Name, Func<BankContext, Task> Read)> reads)
    {
        foreach (var (name, read) in reads)
        {
            await using var context = New();
            var error = await Record.ExceptionAsync(() => read(context));
            Assert.True(error is EnvelopeRefusedException, $"{columnId} {name}: {error?.ToString() ?? "was returned"}");
            Assert.Equal((columnId, (Guid?)keyId), ColumnAndKey((EnvelopeRefusedException)error!));
            Assert.DoesNotContain("canary", error!.ToString(), StringComparison.Ordinal);
        }
    }

    /// <summary>The armour in a customer's document, as EF wrote it, without escapes.</summary>
    private async Task<string> SecretOfAsync(string name)
    {
        await using var context = New();
        var id = (await context.Customers.AsNoTracking().ToListAsync()).Single(c => c.FullName == name).Id;
        var document = (string)(await _database.ScalarAsync($"SELECT \"Profile\" FROM \"Customers\" WHERE \"Id\" = {id}"))!;
        return System.Text.Json.JsonDocument.Parse(document).RootElement.GetProperty("Secret").GetString()!;
    }

    private static (string?, Guid?) ColumnAndKey(EnvelopeRefusedException error) => (error.ColumnId, error.KeyId);

    private async Task StreamAsync(BankContext context)
    {
        await foreach (var customer in context.Customers.AsAsyncEnumerable())
        {
            Assert.NotEqual("canary", customer.FullName);
        }
    }

    private async Task ReloadAsync(BankContext context)
    {
        var stub = NewCustomer(TenantA, "stub");
        stub.Id = _id;
        await context.Attach(stub).ReloadAsync();
    }

    private async Task<string> RowScopeAsync(string label)
    {
        await using var context = New();
        var rowId = await context.Cards.Where(c => c.Label == label).Select(c => EF.Property<Guid>(c, "EnvelopeRowId")).SingleAsync();
        return $"row:{rowId}@{ScopeA}";
    }

    private async Task<Guid> MacAsync()
    {
        await using var process = new Keys.RingProcess(_database, _database.KeyService);
        return (await process.Store.FindByScopeAsync(["global"], KeyPurpose.Mac, default))[0].Id;
    }

    private BankContext New() => new(_database.Options());

    private static Customer NewCustomer(Guid tenant, string name) => new()
    {
        TenantId = tenant,
        FullName = name,
        Ssn = "s",
        Note = "note",
        Home = new Address { Street = "street" },
        Contact = new Contact { Phone = "phone" },
        Profile = new Profile { Theme = "t", Secret = "secret" },
        Devices = { new Device { Serial = "serial" } },
        Accounts = { new Account { Iban = "iban", Pin = 1 } },
    };

    private sealed class Patient
    {
        public int Id { get; set; }

        public int Number { get; set; }

        [Encrypted]
        public string? Diagnosis { get; set; }
    }

    private sealed class Doctor
    {
        public int Id { get; set; }

        public int Number { get; set; }

        [Encrypted]
        public string? Note { get; set; }
    }
}
