using EfEnvelope;

namespace BankingDemo.Model;

public sealed class Customer
{
    public int Id { get; set; }

    public Guid TenantId { get; set; }

    public required string Number { get; set; }

    [Encrypted]
    public required string FullName { get; set; }

    [Encrypted]
    public required string Ssn { get; set; }

    [Encrypted]
    public decimal CreditLimit { get; set; }

    [Encrypted]
    public DateOnly? BirthDate { get; set; }

    public List<Account> Accounts { get; set; } = [];
}

public sealed class Account
{
    public int Id { get; set; }

    public Guid TenantId { get; set; }

    public int CustomerId { get; set; }

    public decimal Balance { get; set; }

    [Encrypted]
    public required string Iban { get; set; }
}

/// <summary>Each card has a data key of its own.</summary>
public sealed class PaymentCard
{
    public int Id { get; set; }

    public Guid TenantId { get; set; }

    public int CustomerId { get; set; }

    [Encrypted]
    public required string Pan { get; set; }
}

/// <summary>Under the one global data key.</summary>
public sealed class Transfer
{
    public int Id { get; set; }

    public int FromAccountId { get; set; }

    public int ToAccountId { get; set; }

    public decimal Amount { get; set; }

    [Encrypted(Padding = 64)]
    public string? Message { get; set; }
}
