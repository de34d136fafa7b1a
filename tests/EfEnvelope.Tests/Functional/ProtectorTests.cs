using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public sealed class ProtectorTests : IAsyncLifetime
{
    private static readonly Guid Tenant = Guid.NewGuid();

    private TestDatabase _database = null!;

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync("SQLite");
        await using var context = New();
        await context.Database.EnsureCreatedAsync();
    }

    public async Task DisposeAsync() => await _database.DisposeAsync();

    [Fact]
    public async Task What_it_seals_EF_reads_and_what_EF_writes_it_opens()
    {
        await using var context = New();
        context.Add(new Customer { TenantId = Tenant, FullName = "by EF", Ssn = "1" });
        await context.SaveChangesAsync();
        var protector = new EnvelopeProtector(context);
        var cell = (byte[])(await _database.ScalarAsync("SELECT \"FullName\" FROM \"Customers\""))!;
        Assert.Equal("by EF", await protector.OpenAsync((Customer c) => c.FullName, cell, EnvelopeScope.Tenant(Tenant)));

        var envelope = await protector.SealAsync((Customer c) => c.FullName, "by hand", EnvelopeScope.Tenant(Tenant));
        await _database.ExecuteAsync($"UPDATE \"Customers\" SET \"FullName\" = x'{Convert.ToHexString(envelope)}'");
        Assert.Equal("by hand", (await context.Customers.AsNoTracking().SingleAsync()).FullName);
        Assert.Equal(envelope, EnvelopeProtector.Disarm(EnvelopeProtector.Arm(envelope)));
    }

    [Fact]
    public async Task Another_scope_column_or_kind_is_refused()
    {
        await using var context = New();
        var protector = new EnvelopeProtector(context);
        var envelope = await protector.SealAsync((Customer c) => c.FullName, "x", EnvelopeScope.Tenant(Tenant));
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => protector.OpenAsync((Customer c) => c.FullName, envelope, EnvelopeScope.Tenant(Guid.NewGuid())));
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => protector.OpenAsync((Customer c) => c.Ssn, envelope));
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => protector.SealAsync((Customer c) => c.FullName, "x", EnvelopeScope.Global));
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => protector.SealAsync((Customer c) => c.Branch, "x", EnvelopeScope.Tenant(Tenant)));
        await Assert.ThrowsAsync<EnvelopeConfigurationException>(() => protector.SealAsync((PaymentCard c) => c.Number, "x", EnvelopeScope.Tenant(Tenant)));
        await Assert.ThrowsAsync<EnvelopeRefusedException>(() => protector.OpenAsync((Customer c) => c.FullName, [1, 2, 3]));
    }

    private BankContext New() => new(_database.Options());
}
