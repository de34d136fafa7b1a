using EfEnvelope.JobProcess.Load;
using System.Transactions;
using EfEnvelope.Cryptography;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Storage;
using EfEnvelope.Storage.Ring;
using EfEnvelope.Tests.Functional;
using EfEnvelope.Tests.Keys;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Time.Testing;
using Npgsql;

namespace EfEnvelope.Tests.Storage.Ring;

/// <summary>The ring's own connection on PostgreSQL.</summary>
public sealed class PostgresRingConnectionTests : IAsyncLifetime
{
    private static readonly Guid Tenant = Guid.Parse("aaaaaaaa-0000-0000-0000-000000000001");

    private readonly ScriptedKeyService _kms = new();
    private readonly PatientClock _clock = new();
    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync("PostgreSQL");
        _database.KeyService = _kms;
        await using var context = Cold();
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task An_ambient_transaction_is_not_joined_by_the_ring(bool complete)
    {
        await using (var context = Cold())
        {
            using var scope = new TransactionScope(TransactionScopeOption.Required, new TransactionOptions { IsolationLevel = IsolationLevel.ReadCommitted }, TransactionScopeAsyncFlowOption.Enabled);
            context.Add(NewCustomer("scoped"));
            context.Add(new PaymentCard { TenantId = Tenant, Number = "scoped" });
            await context.SaveChangesAsync();
            Assert.Equal("scoped", (await context.Customers.AsNoTracking().SingleAsync()).FullName);
            if (complete)
            {
                scope.Complete();
            }
        }

        await using (var context = Cold())
        {
            context.Add(NewCustomer("after"));
            await context.SaveChangesAsync();
        }

        await using var reader = Cold();
        var names = (await reader.Customers.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.FullName);
        Assert.Equal(complete ? ["scoped", "after"] : ["after"], names);
        Assert.Equal(complete ? 1 : 0, (await reader.Cards.AsNoTracking().ToListAsync()).Count);
    }

    [Fact]
    public async Task A_data_source_whose_connection_string_shows_no_password_suffices()
    {
        var role = "ef_password_" + Guid.NewGuid().ToString("N")[..8];
        await _database.ExecuteAsync($"CREATE ROLE {role} LOGIN PASSWORD 'pass-{role}'; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}");
        var builder = new NpgsqlDataSourceBuilder(_database.ConnectionString);
        builder.ConnectionStringBuilder.Username = role;
        builder.ConnectionStringBuilder.Password = "pass-" + role;
        builder.ConnectionStringBuilder.PersistSecurityInfo = false;
        await using var source = builder.Build();
        Assert.DoesNotContain("pass-", source.ConnectionString, StringComparison.Ordinal);
        var clock = new FakeTimeProvider();
        DbContextOptions Options()
        {
            var options = new DbContextOptionsBuilder().AmongMany().UseNpgsql(source);
            options.UseEnvelopeEncryption(e => e.UseKeyManagementService(_kms).UseTimeProvider(clock));
            return options.Options;
        }

        await using (var context = new BankContext(Options()))
        {
            context.Add(NewCustomer("n"));
            await context.SaveChangesAsync();
        }

        // Opened once, an Npgsql connection no longer tells its password either.
        await using (var context = new BankContext(Options()))
        {
            await context.Database.OpenConnectionAsync();
            Assert.DoesNotContain("pass-", context.Database.GetDbConnection().ConnectionString, StringComparison.Ordinal);
            clock.Advance(TimeSpan.FromMinutes(5));
            context.Add(NewCustomer("m"));
            await context.SaveChangesAsync();
            Assert.Equal(["n", "m"], (await context.Customers.AsNoTracking().OrderBy(c => c.Id).ToListAsync()).Select(c => c.FullName));
        }
    }

    [Fact]
    public async Task A_data_source_whose_password_provider_is_only_asynchronous_suffices()
    {
        var role = "ef_token_" + Guid.NewGuid().ToString("N")[..8];
        await _database.ExecuteAsync($"CREATE ROLE {role} LOGIN PASSWORD 'token'; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}; GRANT pg_read_all_stats TO {role}");
        var builder = new NpgsqlDataSourceBuilder(_database.ConnectionString);
        builder.ConnectionStringBuilder.Username = role;
        builder.ConnectionStringBuilder.Password = null;
        var asked = 0;
        var token = "token";
        builder.UsePasswordProvider(_ => throw new NotSupportedException("Only asynchronously."), async (_, cancellationToken) =>
        {
            await Task.Yield();
            cancellationToken.ThrowIfCancellationRequested();
            Interlocked.Increment(ref asked);
            return Volatile.Read(ref token);
        });
        await using var source = builder.Build();
        var options = new DbContextOptionsBuilder().AmongMany().UseNpgsql(source);
        options.UseEnvelopeEncryption(e => e.UseKeyManagementService(_kms).UseTimeProvider(_clock));
        await using (var context = new BankContext(options.Options))
        {
            context.Add(NewCustomer("n"));
            context.Add(new PaymentCard { TenantId = Tenant, Number = "c" });
            await context.SaveChangesAsync();
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Tenant(Tenant));
            Assert.Equal(2, (await new EnvelopeKeys(context).ReencryptAsync(new ReencryptionOptions { CutOffTimeout = TimeSpan.Zero })).Rows);
        }

        // In the background, after the context that asked for it is gone.
        _clock.Advance(TimeSpan.FromMinutes(5));
        await using (var context = new BankContext(options.Options))
        {
            Assert.Equal("n", (await context.Customers.SingleAsync()).FullName);
        }

        // Tokens differ from call to call, and each has a pool of its own: one is used again until the server takes it no more.
        var before = asked;
        await ListAsync();
        Assert.Equal(before, asked);
        Volatile.Write(ref token, "another");
        await _database.ExecuteAsync($"ALTER ROLE {role} PASSWORD 'another'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'");
        await ListAsync();
        Assert.True(asked > before);

        async Task ListAsync()
        {
            await using var context = new BankContext(options.Options);
            for (var n = 0; n < 20; n++)
            {
                Assert.NotEmpty(await new EnvelopeKeys(context).ListAsync());
            }
        }
    }

    [Fact]
    public async Task A_server_without_room_is_no_reason_to_ask_for_another_password()
    {
        var role = "ef_full_" + Guid.NewGuid().ToString("N")[..8];
        await _database.ExecuteAsync($"CREATE ROLE {role} LOGIN PASSWORD 'token'; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}");
        var builder = new NpgsqlDataSourceBuilder(_database.ConnectionString);
        builder.ConnectionStringBuilder.Username = role;
        builder.ConnectionStringBuilder.Password = null;
        var asked = 0;
        builder.UsePasswordProvider(_ => throw new NotSupportedException("Only asynchronously."), (_, _) =>
        {
            Interlocked.Increment(ref asked);
            return ValueTask.FromResult("token");
        });
        await using var source = builder.Build();
        var options = new DbContextOptionsBuilder().AmongMany().UseNpgsql(source);
        options.UseEnvelopeEncryption(e => e.UseKeyManagementService(_kms).UseTimeProvider(_clock));
        await using var context = new BankContext(options.Options);
        var keys = new EnvelopeKeys(context);
        await keys.ListAsync();
        var before = asked;
        await _database.ExecuteAsync($"ALTER ROLE {role} CONNECTION LIMIT 0; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'");

        // The first may still find a connection that was ended just now.
        await Assert.ThrowsAsync<KeyUnavailableException>(() => keys.ListAsync());
        Assert.Contains("53300", (await Assert.ThrowsAsync<KeyUnavailableException>(() => keys.ListAsync())).Message, StringComparison.Ordinal);
        Assert.Equal(before, asked);
        await _database.ExecuteAsync($"ALTER ROLE {role} CONNECTION LIMIT -1");
        Assert.NotNull(await keys.ListAsync());
        Assert.Equal(before, asked);
    }

    [Fact]
    public async Task A_confirmation_that_waits_for_a_locked_table_ends_with_the_connections_own_time_out()
    {
        await using var process = new RingProcess(_database, _kms, connectionString: new NpgsqlConnectionStringBuilder(_database.ConnectionString) { CommandTimeout = 1 }.ConnectionString);
        await process.SealAsync();
        await using var elsewhere = new RingProcess(_database, _kms);
        var made = await elsewhere.RotateAsync();
        await using (var locking = new NpgsqlConnection(_database.ConnectionString))
        {
            await locking.OpenAsync();
            await using var transaction = await locking.BeginTransactionAsync();
            await using var command = new NpgsqlCommand("LOCK TABLE \"EnvelopeKeys\" IN ACCESS EXCLUSIVE MODE", locking, transaction);
            await command.ExecuteNonQueryAsync();
            await Assert.ThrowsAsync<KeyUnavailableException>(() => process.Ring.ConfirmAsync(process.Store, default).WaitAsync(TimeSpan.FromSeconds(30)));
        }

        process.Time.Advance(new KeyRingOptions().SealingLease + TimeSpan.FromSeconds(1));
        Assert.Equal(made.Id, await process.SealAsync());
    }

    [Fact]
    public async Task A_role_without_delete_on_the_ring_suffices_for_the_application()
    {
        var role = "ef_app_" + Guid.NewGuid().ToString("N")[..8];
        await _database.ExecuteAsync($"CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA public TO {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}; GRANT pg_read_all_stats TO {role}");
        foreach (var table in new[] { "EnvelopeRing", "EnvelopeKeys", "EnvelopeColumns", "EnvelopeJobs", "EnvelopeJobUnits", "EnvelopeQuarantine" })
        {
            await _database.ExecuteAsync($"REVOKE DELETE, TRUNCATE ON \"{table}\" FROM {role}");
        }

        var asRole = new NpgsqlConnectionStringBuilder(_database.ConnectionString) { Username = role, Password = "p" }.ConnectionString;
        BankContext New() => new(_database.Options(e => e.UseTimeProvider(_clock), connectionString: asRole));
        await using (var context = New())
        {
            context.Add(NewCustomer("n"));
            context.Add(new PaymentCard { TenantId = Tenant, Number = "c" });
            await context.SaveChangesAsync();
            var keys = new EnvelopeKeys(context);
            await keys.RotateAsync(EnvelopeScope.Tenant(Tenant));
            var old = (await keys.ListAsync()).Single(k => k.Version == 1 && k.Scope == $"tenant:{Tenant}" && k.Purpose == KeyPurpose.Field);
            await keys.ReportCompromisedAsync(EnvelopeScope.Tenant(Tenant), "test");
            Assert.Equal(2, (await keys.ReencryptAsync(new ReencryptionOptions { CutOffTimeout = TimeSpan.Zero })).Rows);
            await keys.RewrapAsync();
            await keys.RevokeAsync(old.Id);
            await keys.DestroyAsync(old.Id);
            using var document = new MemoryStream();
            await keys.ExportAsync(document);
            document.Position = 0;
            Assert.Equal(0, (await keys.ImportAsync(document)).Added);
        }

        await using (var context = New())
        {
            Assert.Equal("n", (await context.Customers.SingleAsync()).FullName);
            var card = await context.Cards.SingleAsync();
            context.Remove(card);
            await context.SaveChangesAsync();
        }

        // What a version before left in the ring's list of columns stays for a role that may delete it; nobody's save fails by it.
        await _database.ExecuteAsync("INSERT INTO \"EnvelopeColumns\" (\"DatabaseName\", \"TableName\", \"ColumnName\", \"ColumnId\") SELECT \"DatabaseName\", 'Customers', \"ColumnName\", \"ColumnId\" FROM \"EnvelopeColumns\" WHERE \"TableName\" LIKE '%Customers' AND \"TableName\" <> 'Customers' ON CONFLICT DO NOTHING");
        await using (var context = New())
        {
            await new EnvelopeKeys(context).RotateAsync(EnvelopeScope.Tenant(Tenant));
            context.Add(NewCustomer("m"));
            await context.SaveChangesAsync();
        }

        Assert.NotEqual(0L, await _database.ScalarAsync("SELECT COUNT(*) FROM \"EnvelopeColumns\" WHERE \"TableName\" = 'Customers'"));
        await using var asApplication = new NpgsqlConnection(asRole);
        await asApplication.OpenAsync();
        await using var delete = new NpgsqlCommand("DELETE FROM \"EnvelopeKeys\"", asApplication);
        Assert.Equal("42501", (await Assert.ThrowsAsync<PostgresException>(() => delete.ExecuteNonQueryAsync())).SqlState);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Schemas_that_the_search_path_or_the_role_tells_apart_have_rings_of_their_own(bool byRole)
    {
        var names = new[] { "one", "two" }.Select(n => $"{n}_{Guid.NewGuid():N}").ToArray();
        var clock = new FakeTimeProvider();
        string ConnectionString(string name) => (byRole
            ? new NpgsqlConnectionStringBuilder(_database.ConnectionString) { Username = name, Password = "p" }
            : new NpgsqlConnectionStringBuilder(_database.ConnectionString) { SearchPath = name }).ConnectionString;
        DbContextOptions Options(string name) => _database.Options(e => e.UseTimeProvider(clock), connectionString: ConnectionString(name));
        foreach (var name in names)
        {
            await _database.ExecuteAsync(byRole ? $"CREATE ROLE {name} LOGIN PASSWORD 'p'; GRANT {name} TO CURRENT_USER; CREATE SCHEMA {name} AUTHORIZATION {name}" : $"CREATE SCHEMA {name}");
            await using var context = new BankContext(Options(name));
            await context.Database.ExecuteSqlRawAsync(context.Database.GenerateCreateScript());
        }

        for (var round = 0; round < 2; round++)
        {
            foreach (var name in names)
            {
                await using var context = new BankContext(Options(name));
                context.Add(NewCustomer(name));
                await context.SaveChangesAsync();
            }
        }

        var rings = new HashSet<Guid?>();
        foreach (var name in names)
        {
            await using var context = new BankContext(Options(name));
            Assert.All(await context.Customers.AsNoTracking().ToListAsync(), c => Assert.Equal(name, c.FullName));
            Assert.True(rings.Add(EnvelopeSession.Of(context).Ring.Id));
            await using var cold = new BankContext(_database.Options(e => e.UseTimeProvider(new FakeTimeProvider()), connectionString: ConnectionString(name)));
            Assert.Equal(2, (await cold.Customers.AsNoTracking().ToListAsync()).Count);
        }
    }

    [Fact]
    public async Task What_one_role_changes_in_a_ring_counts_at_once_for_another_role_of_the_process()
    {
        var role = $"app_{Guid.NewGuid():N}";
        await _database.ExecuteAsync($"CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}");
        var application = _database.Options(connectionString: new NpgsqlConnectionStringBuilder(_database.ConnectionString) { Username = role, Password = "p" }.ConnectionString);
        async Task<Guid> SaveAsync(string name)
        {
            await using var context = new BankContext(application);
            context.Add(NewCustomer(name));
            await context.SaveChangesAsync();
            await using var plain = new NpgsqlConnection(_database.ConnectionString);
            await plain.OpenAsync();
            await using var command = new NpgsqlCommand("SELECT \"FullName\" FROM \"Customers\" ORDER BY \"Id\" DESC LIMIT 1", plain);
            return EnvelopeCodec.TryReadKeyId((byte[])(await command.ExecuteScalarAsync())!, out var id) ? id : Guid.Empty;
        }

        var first = await SaveAsync("a");
        await using (var context = new BankContext(_database.Options()))
        {
            Assert.Contains(await new EnvelopeKeys(context).ReportCompromisedAsync(EnvelopeScope.Tenant(Tenant), "test"), k => k.Id == first);
        }

        Assert.NotEqual(first, await SaveAsync("b"));
    }

    [Fact]
    public async Task One_connection_in_the_pool_suffices_for_cold_saves_inside_a_transaction()
    {
        var single = new NpgsqlConnectionStringBuilder(_database.ConnectionString) { MaxPoolSize = 1, Timeout = 5, ApplicationName = "one" }.ConnectionString;
        await using var context = new BankContext(_database.Options(e => e.UseTimeProvider(new FakeTimeProvider()), connectionString: single));
        await using var transaction = await context.Database.BeginTransactionAsync();
        context.Add(NewCustomer("n"));
        context.Add(new PaymentCard { TenantId = Tenant, Number = "c" });
        await context.SaveChangesAsync();
        await foreach (var card in context.Cards.AsNoTracking().AsAsyncEnumerable())
        {
            Assert.Equal("c", card.Number);
        }

        await transaction.CommitAsync();
    }

    /// <summary>Every save of the process waits for a confirmation, the application's own statements for themselves alone.</summary>
    [Fact]
    public async Task Time_outs_that_the_application_took_away_bound_the_rings_connections_and_no_jobs()
    {
        var endless = new NpgsqlConnectionStringBuilder(_database.ConnectionString) { Timeout = 0, CommandTimeout = 0, CancellationTimeout = 0 }.ConnectionString;
        await using var context = new BankContext(_database.Options(connectionString: endless));
        foreach (var workers in new[] { 0, 2 })
        {
            await using var lease = await RingStoreFactory.Connect(context, null, workers).OpenAsync(default);
            var settings = new NpgsqlConnectionStringBuilder(lease.Connection.ConnectionString);
            Assert.Equal(workers == 0 ? 30 : 0, settings.CommandTimeout);
            Assert.Equal((15, 2000), (settings.Timeout, settings.CancellationTimeout));
        }
    }

    [Fact]
    public async Task The_rings_connections_are_few_and_say_whose_they_are()
    {
        await Task.WhenAll(Enumerable.Range(0, 24).Select(i => Task.Run(async () =>
        {
            await using var context = Cold();
            context.Add(new Customer { TenantId = Guid.NewGuid(), FullName = "n" + i, Ssn = "s" });
            await context.SaveChangesAsync();
        })));
        var own = Convert.ToInt64(await _database.ScalarAsync("SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'EfEnvelope' AND datname = current_database()"));
        Assert.InRange(own, 1, 8);
    }

    private static Customer NewCustomer(string name) => new() { TenantId = Tenant, FullName = name, Ssn = "s" };

    private BankContext Cold() => new(_database.Options(e => e.UseTimeProvider(new FakeTimeProvider())));
}
