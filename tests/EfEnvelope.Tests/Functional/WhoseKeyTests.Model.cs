using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

/// <summary>The entities.</summary>
public abstract partial class WhoseKeyTests
{
    private sealed class Order
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        [Encrypted]
        public string? Title { get; set; }

        public Paper Paper { get; set; } = new();

        public OrderDetail? Detail { get; set; }

        public Receipt? Receipt { get; set; }
    }

    private sealed class OrderDetail
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Text { get; set; }

        public Paper Paper { get; set; } = new();
    }

    private sealed class Receipt
    {
        public int Id { get; set; }

        public int Payer { get; set; }

        [Encrypted]
        public decimal Amount { get; set; }
    }

    private sealed class Paper
    {
        [Encrypted]
        public string? Secret { get; set; }
    }

    private sealed class Depot
    {
        public int Id { get; set; }

        public int Code { get; set; }

        public int Tenant { get; set; }

        public List<Crate> Crates { get; set; } = [];
    }

    private sealed class Crate
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Seal { get; set; }
    }

    private abstract class Creature
    {
        public Guid Id { get; set; } = Guid.NewGuid();

        public int Tenant { get; set; }

        [Encrypted]
        public string? Name { get; set; }
    }

    private sealed class Whale : Creature
    {
        public List<Crate> Marks { get; set; } = [];
    }

    private sealed class Otter : Creature;

    private sealed class Deal
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        [Encrypted]
        public string? Secret { get; set; }

        [Encrypted]
        public string? Other { get; set; }
    }

    private sealed class Site
    {
        public Guid Region { get; set; }

        public int Number { get; set; }

        public int Tenant { get; set; }

        public List<Crate> Gates { get; set; } = [];
    }

    private sealed class Locker
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        [Encrypted]
        public string? Number { get; set; }

        public List<Crate> Crates { get; set; } = [];
    }

    private sealed class Ticket
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        public Guid RowKey { get; set; }

        [Encrypted]
        public string? Text { get; set; }
    }

    private sealed class Shelf
    {
        public byte[] Id { get; set; } = [];

        public int Tenant { get; set; }

        public List<Crate> Crates { get; set; } = [];
    }
}
