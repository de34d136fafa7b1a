using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;

namespace EfEnvelope.Tests.Reencryption;

public sealed class SqliteHistoryTests() : HistoryTests("SQLite");

public sealed class PostgresHistoryTests() : HistoryTests("PostgreSQL");

/// <summary>Tables in which a trigger keeps former values: declared, they are read, counted and re-encrypted like the tables that the values come from.</summary>
public abstract class HistoryTests(string provider) : IAsyncLifetime
{
    private static readonly ReencryptionOptions Small = new() { BatchSize = 3, UnitSize = 100, CutOffTimeout = TimeSpan.FromSeconds(30) };

    private TestDatabase _database = null!;

    public async Task InitializeAsync() => _database = await TestDatabase.CreateAsync(provider);

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Former_values_are_read_counted_and_reencrypted(bool rowKeys)
    {
        var model = Model(rowKeys);
        await CreateAsync(model, rowKeys);
        await using (var context = New(model))
        {
            context.AddRange(Enumerable.Range(1, 10).Select(n => new Patient { Id = n, ClinicId = (n % 2) + 1, Name = $"first {n}", Stay = n, Home = new() { Street = $"old street {n}" } }));
            await context.SaveChangesAsync();
        }

        await using (var context = New(model))
        {
            foreach (var patient in await context.Set<Patient>().ToListAsync())
            {
                (patient.Name, patient.Stay, patient.Home.Street) = ($"second {patient.Id}", 100 + patient.Id, $"new street {patient.Id}");
            }

            await context.SaveChangesAsync();
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Tenant(1));
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Tenant(2));
        }

        await using (var context = New(model))
        {
            var report = await new EnvelopeKeys(context).ReencryptAsync(Small);
            Assert.True(report.IsProven, report.NotProvenBecause);

            // 10 rows, the 10 former ones, and the 10 that the trigger keeps of the job's own updates.
            Assert.Equal(30, report.Rows);
            Assert.Equal(0, report.Census.StaleCells);
            Assert.Equal(3 * 20, report.Census.Entries.Where(e => e.Table == "PatientHistory").Sum(e => e.Cells));
        }

        await using var reader = New(model);
        var history = await reader.Set<PatientHistory>().OrderBy(h => h.Entry).ToListAsync();
        Assert.Equal(20, history.Count);
        Assert.Equal(Enumerable.Range(1, 10).Select(n => ($"first {n}", (int?)n, $"old street {n}")).Order(), history.Take(10).Select(h => (h.Name!, h.Stay, h.Home.Street)).Order());
        Assert.Equal(Enumerable.Range(1, 10).Select(n => $"second {n}").Order(), history.Skip(10).Select(h => h.Name!).Order());
    }

    [Fact]
    public async Task A_compromised_key_is_named_by_no_former_value_at_the_end()
    {
        var model = Model(rowKeys: false);
        await CreateAsync(model, rowKeys: false);
        await using var context = New(model);
        var patient = new Patient { Id = 1, ClinicId = 1, Name = "before", Stay = 1, Home = new() { Street = "s" } };
        context.Add(patient);
        await context.SaveChangesAsync();
        patient.Name = "after";
        await context.SaveChangesAsync();
        var key = (await new EnvelopeKeys(context).ListAsync()).Single(k => k.Scope == "tenant:1" && k.Purpose == KeyPurpose.Field).Id;
        Assert.Equal(2, await NamedAsync(key, "Patients", "PatientHistory"));

        await new EnvelopeKeys(context).ReportCompromisedAsync(EnvelopeScope.Tenant(1), "test");
        var report = await new EnvelopeKeys(context).ReencryptAsync(Small);

        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal(0, await NamedAsync(key, "Patients", "PatientHistory"));
    }

    /// <summary>What docs/threat-model.md says stays possible, and no more.</summary>
    [Fact]
    public async Task An_envelope_can_be_moved_between_the_two_tables_within_its_scope_and_into_no_other()
    {
        var model = Model(rowKeys: false);
        await CreateAsync(model, rowKeys: false);
        await using (var context = New(model))
        {
            var patients = Enumerable.Range(1, 2).Select(n => new Patient { Id = n, ClinicId = n, Name = $"before {n}", Stay = n, Home = new() { Street = "s" } }).ToList();
            context.AddRange(patients);
            await context.SaveChangesAsync();
            patients.ForEach(p => p.Name = $"after {p.Id}");
            await context.SaveChangesAsync();
        }

        await MoveAsync(from: 1, to: 1);
        await using var reader = New(model);
        Assert.Equal("after 1", (await reader.Set<PatientHistory>().AsNoTracking().SingleAsync(h => h.ClinicId == 1)).Name);
        await MoveAsync(from: 1, to: 2);
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => reader.Set<PatientHistory>().AsNoTracking().SingleAsync(h => h.ClinicId == 2));

        async Task MoveAsync(int from, int to)
            => Assert.Equal(1, await _database.ExecuteAsync($"UPDATE \"PatientHistory\" SET \"Name\" = (SELECT \"Name\" FROM \"Patients\" WHERE \"ClinicId\" = {from}) WHERE \"ClinicId\" = {to}"));
    }

    [Fact]
    public async Task A_history_without_a_class_is_treated_alike()
    {
        Action<ModelBuilder> model = m =>
        {
            Model(rowKeys: false)(m);
            m.Entity<PatientHistory>().ToTable("Elsewhere");
            m.SharedTypeEntity<Dictionary<string, object>>("Kept", history =>
            {
                history.ToTable("PatientHistory");
                history.IndexerProperty<long>("Entry");
                history.IndexerProperty<int>("ClinicId");
                history.IndexerProperty<string>("Name");
                history.IndexerProperty<int?>("Stay");
                history.IndexerProperty<byte[]>("Home_Street");
                history.HasKey("Entry");
                history.IsEncryptedHistoryOf(typeof(Patient));
            });
            m.UseEnvelopeEncryption();
        };
        await CreateAsync(model, rowKeys: false);
        await using var context = New(model);
        var patient = new Patient { Id = 1, ClinicId = 1, Name = "before", Stay = 1, Home = new() { Street = "s" } };
        context.Add(patient);
        await context.SaveChangesAsync();
        patient.Name = "after";
        await context.SaveChangesAsync();
        var key = (await new EnvelopeKeys(context).ListAsync()).Single(k => k.Scope == "tenant:1" && k.Purpose == KeyPurpose.Field).Id;
        await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Tenant(1));

        var report = await new EnvelopeKeys(context).ReencryptAsync(Small);

        Assert.True(report.IsProven, report.NotProvenBecause);
        Assert.Equal(0, await NamedAsync(key, "Patients", "PatientHistory"));
        Assert.Contains("before", (await context.Set<Dictionary<string, object>>("Kept").ToListAsync()).Select(h => (string)h["Name"]));
    }

    [Fact]
    public async Task The_attribute_says_the_same_as_the_fluent_call()
    {
        await using var context = New(model =>
        {
            Model(rowKeys: true)(model);
            model.Entity<Marked>().HasKey(h => h.Entry);
            model.UseEnvelopeEncryption();
        });
        var (fluent, marked) = (context.Model.FindEntityType(typeof(PatientHistory))!, context.Model.FindEntityType(typeof(Marked))!);
        Assert.Equal(Annotations(fluent), Annotations(marked));
        Assert.Equal(Annotations(fluent.FindProperty("Name")!), Annotations(marked.FindProperty("Name")!));
        Assert.Contains(Annotations(marked.FindProperty("Name")!), a => a.Contains("Patient.Name", StringComparison.Ordinal));
        Assert.False(marked.FindProperty("Stay")!.GetTypeMapping().Converter is null);

        var refused = Assert.Throws<EnvelopeConfigurationException>(() => New(model =>
        {
            Model(rowKeys: false)(model);
            model.Entity<MarkedForNobody>().HasKey(h => h.Entry);
            model.UseEnvelopeEncryption();
        }).Model);
        Assert.Contains("no entity of the model", refused.Message, StringComparison.Ordinal);

        static IReadOnlyList<string> Annotations(IReadOnlyAnnotatable annotated)
            => [.. annotated.GetAnnotations().Where(a => a.Name.StartsWith("EfEnvelope:", StringComparison.Ordinal)).Select(a => $"{a.Name} {a.Value}").Order(StringComparer.Ordinal)];
    }

    [Theory]
    [InlineData("other", "no property with the name")]
    [InlineData("type", "of type Int64")]
    [InlineData("self", "a history itself")]
    [InlineData("bound", "row-bound")]
    [InlineData("undeclared", "has column id 'Patient.Name'")]
    public async Task A_history_that_cannot_be_one_is_refused_when_the_model_is_built(string fault, string message)
    {
        await using var context = New(model =>
        {
            model.Entity<Patient>(p =>
            {
                p.HasDataKeyPerTenant(x => x.ClinicId).ComplexProperty(x => x.Home);
                p.Property(x => x.Id).ValueGeneratedNever();
                if (fault == "bound")
                {
                    p.Property(x => x.Name).IsEncrypted(e => e.IsRowBound());
                }
            });
            switch (fault)
            {
                case "other":
                    model.Entity<Unrelated>().IsEncryptedHistoryOf(typeof(Patient));
                    break;
                case "type":
                    model.Entity<WrongType>().IsEncryptedHistoryOf(typeof(Patient));
                    break;
                case "undeclared":
                    model.Entity<PatientHistory>(h =>
                    {
                        h.HasKey(x => x.Entry);
                        h.ComplexProperty(x => x.Home);
                        h.Property(x => x.Name).IsEncrypted(e => e.HasColumnId("Patient.Name"));
                    });
                    break;
                default:
                    model.Entity<PatientHistory>(h =>
                    {
                        h.HasKey(x => x.Entry);
                        h.ComplexProperty(x => x.Home);
                        h.IsEncryptedHistoryOf(fault == "self" ? typeof(PatientHistory) : typeof(Patient));
                    });
                    break;
            }

            model.UseEnvelopeEncryption();
        });
        var error = Assert.Throws<EnvelopeConfigurationException>(() => context.Model);
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    private static Action<ModelBuilder> Model(bool rowKeys) => model =>
    {
        model.Entity<PatientHistory>(history =>
        {
            history.ToTable("PatientHistory").HasKey(h => h.Entry);
            history.ComplexProperty(h => h.Home);
            history.IsEncryptedHistoryOf(typeof(Patient));
        });
        model.Entity<Patient>(patient =>
        {
            patient.ToTable("Patients").HasDataKeyPerTenant(p => p.ClinicId);
            patient.Property(p => p.Id).ValueGeneratedNever();
            patient.Property(p => p.Name).HasConversion(name => name.ToUpperInvariant(), stored => stored.ToLowerInvariant());
            patient.ComplexProperty(p => p.Home);
            if (rowKeys)
            {
                patient.HasDataKeyPerRow();
            }
        });
        model.UseEnvelopeEncryption();
    };

    private AdHocContext New(Action<ModelBuilder> model)
        => new(_database.Options(e => e.UseTimeProvider(QuickTime.Shared).With(o => o with { SealingLease = TimeSpan.FromSeconds(1) }), AdHocContext.Cached), model);

    private async Task CreateAsync(Action<ModelBuilder> model, bool rowKeys)
    {
        await using var context = New(model);
        await context.Database.EnsureCreatedAsync();
        var columns = string.Join(", ", new[] { "ClinicId", "Name", "Stay", "Home_Street" }.Append(rowKeys ? "EnvelopeRowId" : "ClinicId").Distinct().Select(c => $"\"{c}\""));
        var values = columns.Replace("\"C", "old.\"C", StringComparison.Ordinal).Replace("\"N", "old.\"N", StringComparison.Ordinal).Replace("\"S", "old.\"S", StringComparison.Ordinal).Replace("\"H", "old.\"H", StringComparison.Ordinal).Replace("\"E", "old.\"E", StringComparison.Ordinal);
        var keep = $"INSERT INTO \"PatientHistory\" ({columns}) VALUES ({values});";
        await _database.ExecuteAsync(provider == "SQLite"
            ? $"CREATE TRIGGER keep AFTER UPDATE ON \"Patients\" BEGIN {keep} END"
            : $"CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {keep} RETURN NULL; END $$; CREATE TRIGGER keep AFTER UPDATE ON \"Patients\" FOR EACH ROW EXECUTE FUNCTION keep()");
    }

    private async Task<long> NamedAsync(Guid key, params string[] tables)
    {
        long cells = 0;
        foreach (var table in tables)
        {
            var hex = Convert.ToHexString(key.ToByteArray(bigEndian: true)).ToLowerInvariant();
            cells += Convert.ToInt64(await _database.ScalarAsync(provider == "SQLite"
                ? $"SELECT COUNT(*) FROM \"{table}\" WHERE lower(hex(substr(\"Name\", 4, 16))) = '{hex}'"
                : $"SELECT COUNT(*) FROM \"{table}\" WHERE encode(substr(\"Name\", 4, 16), 'hex') = '{hex}'"), System.Globalization.CultureInfo.InvariantCulture);
        }

        return cells;
    }

    private sealed class Patient
    {
        public int Id { get; set; }

        public int ClinicId { get; set; }

        [Encrypted]
        public string Name { get; set; } = "";

        [Encrypted]
        public int Stay { get; set; }

        public Address Home { get; set; } = new();
    }

    private sealed class PatientHistory
    {
        public long Entry { get; set; }

        public int ClinicId { get; set; }

        public string? Name { get; set; }

        public int? Stay { get; set; }

        public PlainAddress Home { get; set; } = new();
    }

    private sealed class Address
    {
        [Encrypted]
        public string Street { get; set; } = "";
    }

    private sealed class PlainAddress
    {
        public string Street { get; set; } = "";
    }

    private sealed class Unrelated
    {
        public int Id { get; set; }

        public int ClinicId { get; set; }
    }

    private sealed class WrongType
    {
        public int Id { get; set; }

        public int ClinicId { get; set; }

        public long Stay { get; set; }
    }

    [EncryptedHistoryOf(typeof(Patient))]
    private sealed class Marked
    {
        public long Entry { get; set; }

        public int ClinicId { get; set; }

        public string? Name { get; set; }

        public int? Stay { get; set; }
    }

    [EncryptedHistoryOf(typeof(WrongType))]
    private sealed class MarkedForNobody
    {
        public long Entry { get; set; }
    }
}
