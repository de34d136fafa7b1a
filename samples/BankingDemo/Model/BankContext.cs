using EfEnvelope;
using Microsoft.EntityFrameworkCore;

namespace BankingDemo.Model;

public abstract class BankContext(DbContextOptions options) : DbContext(options)
{
    public DbSet<Customer> Customers => Set<Customer>();

    public DbSet<Account> Accounts => Set<Account>();

    public DbSet<PaymentCard> Cards => Set<PaymentCard>();

    public DbSet<Transfer> Transfers => Set<Transfer>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Customer>().HasDataKeyPerTenant(c => c.TenantId);
        modelBuilder.Entity<Account>().HasDataKeyPerTenant(a => a.TenantId);
        modelBuilder.Entity<PaymentCard>().HasDataKeyPerTenant(c => c.TenantId).HasDataKeyPerRow();
        modelBuilder.UseEnvelopeEncryption();
    }
}

/// <summary>One context type per provider, so that each has migrations of its own.</summary>
public sealed class SqliteBankContext(DbContextOptions<SqliteBankContext> options) : BankContext(options);

public sealed class PostgresBankContext(DbContextOptions<PostgresBankContext> options) : BankContext(options);
