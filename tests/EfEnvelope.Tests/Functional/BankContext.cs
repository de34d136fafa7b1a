using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

public enum Risk
{
    Low,
    High,
}

public sealed class Customer
{
    public int Id { get; set; }

    public Guid TenantId { get; set; }

    public string Branch { get; set; } = "main";

    [Encrypted]
    public required string FullName { get; set; }

    [Encrypted]
    public required string Ssn { get; set; }

    [Encrypted]
    public decimal CreditLimit { get; set; }

    [Encrypted]
    public DateOnly? BirthDate { get; set; }

    [Encrypted]
    public Risk Risk { get; set; }

    [Encrypted(Padding = 32)]
    public byte[]? Photo { get; set; }

    [Encrypted(Armored = true)]
    public string? Note { get; set; }

    [Encrypted]
    public Uri? Site { get; set; }

    [Encrypted]
    public List<string>? Tags { get; set; }

    public Address Home { get; set; } = new();

    public Contact Contact { get; set; } = new();

    public Profile? Profile { get; set; }

    public List<Device> Devices { get; set; } = [];

    public List<Account> Accounts { get; set; } = [];
}

public sealed class Address
{
    public string City { get; set; } = "";

    [Encrypted]
    public string? Street { get; set; }
}

public sealed class Contact
{
    public string Kind { get; set; } = "";

    [Encrypted]
    public string? Phone { get; set; }
}

/// <summary>Stands in a JSON column.</summary>
public sealed class Profile
{
    public string Theme { get; set; } = "";

    [Encrypted]
    public string? Secret { get; set; }
}

/// <summary>Owned, in a table of its own.</summary>
public sealed class Device
{
    public int Id { get; set; }

    [Encrypted]
    public string? Serial { get; set; }
}

public class Account
{
    public int Id { get; set; }

    public int CustomerId { get; set; }

    public Customer? Customer { get; set; }

    [Encrypted]
    public string? Iban { get; set; }

    [Encrypted]
    public int? Pin { get; set; }
}

public sealed class SavingsAccount : Account
{
    [Encrypted]
    public double Rate { get; set; }
}

/// <summary>Rows with keys of their own, under their tenant's.</summary>
public sealed class PaymentCard
{
    public int Id { get; set; }

    public Guid TenantId { get; set; }

    public string Label { get; set; } = "";

    [Encrypted]
    public required string Number { get; set; }

    [Encrypted]
    public string? Holder { get; set; }
}

/// <summary>Bound to its primary key.</summary>
public sealed class Ledger
{
    public required string Code { get; set; }

    public int Year { get; set; }

    [Encrypted(RowBound = true)]
    public decimal Balance { get; set; }
}

public sealed class Plain
{
    public int Id { get; set; }

    public string Text { get; set; } = "";
}

public class BankContext(DbContextOptions options) : DbContext(options)
{
    public DbSet<Customer> Customers => Set<Customer>();

    public DbSet<Account> Accounts => Set<Account>();

    public DbSet<PaymentCard> Cards => Set<PaymentCard>();

    public DbSet<Ledger> Ledgers => Set<Ledger>();

    public DbSet<Plain> Plains => Set<Plain>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        modelBuilder.Entity<Customer>(customer =>
        {
            customer.HasDataKeyPerTenant(c => c.TenantId);
            customer.Property(c => c.Site).HasConversion(uri => uri!.ToString(), text => new Uri(text));
            customer.Property(c => c.Ssn).HasMaxLength(11);
            customer.OwnsOne(c => c.Home);
            customer.ComplexProperty(c => c.Contact);
            customer.OwnsOne(c => c.Profile, profile => profile.ToJson());
            customer.OwnsMany(c => c.Devices, device => device.HasKey(d => d.Id));
        });
        modelBuilder.Entity<SavingsAccount>();
        modelBuilder.Entity<PaymentCard>().HasDataKeyPerTenant(c => c.TenantId).HasDataKeyPerRow();
        modelBuilder.Entity<Ledger>().HasKey(l => new { l.Code, l.Year });
        modelBuilder.UseEnvelopeEncryption();
    }
}
