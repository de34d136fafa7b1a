using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Functional;

/// <summary>The entities.</summary>
public abstract partial class MappingTests
{
    public readonly record struct TenantId(Guid Value);

    public readonly record struct TypedId(int Value);

    public sealed class Person
    {
        [System.ComponentModel.DataAnnotations.Schema.DatabaseGenerated(System.ComponentModel.DataAnnotations.Schema.DatabaseGeneratedOption.None)]
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        [Encrypted]
        public string Name { get; set; } = "";

        [Encrypted]
        public string? Email { get; set; }

        [Encrypted]
        public int Age { get; set; }

        public string City { get; set; } = "";

        public Address? Home { get; set; }

        public List<Device> Devices { get; set; } = [];

        public Contact Contact { get; set; } = new();

        public List<Contact> Contacts { get; set; } = [];

        public List<Group> Groups { get; set; } = [];
    }

    public sealed class Address
    {
        public string City { get; set; } = "";

        [Encrypted]
        public string? Street { get; set; }

        [Encrypted]
        public int Number { get; set; }

        public DateOnly Since { get; set; }

        public Place? Place { get; set; }
    }

    public sealed class Place
    {
        public int Floor { get; set; }

        [Encrypted]
        public string? Note { get; set; }
    }

    public sealed class Contact
    {
        public string Kind { get; set; } = "";

        [Encrypted]
        public string? Phone { get; set; }

        [Encrypted]
        public int? Pin { get; set; }

        public Detail? Detail { get; set; }
    }

    [System.ComponentModel.DataAnnotations.Schema.ComplexType]
    public sealed class Detail
    {
        public int Count { get; set; }

        [Encrypted]
        public string? Text { get; set; }
    }

    public sealed class Device
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Serial { get; set; }
    }

    public class Animal
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        [Encrypted]
        public string? Name { get; set; }
    }

    public sealed class Dog : Animal
    {
        [Encrypted]
        public string? Bark { get; set; }
    }

    public sealed class Cat : Animal
    {
        [Encrypted]
        public int Lives { get; set; }

        [Encrypted]
        public string? Meow { get; set; }
    }

    public sealed class Order
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        [Encrypted]
        public string? Title { get; set; }

        public OrderDetail? Detail { get; set; }
    }

    public sealed class OrderDetail
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        [Encrypted]
        public string? Text { get; set; }
    }

    public sealed class PersonView
    {
        public Guid TenantId { get; set; }

        public string Name { get; set; } = "";

        public string City { get; set; } = "";
    }

    public sealed class GuidKeyed
    {
        public Guid Id { get; set; }

        public Guid TenantId { get; set; }

        public int Plain { get; set; }

        [Encrypted]
        public string Secret { get; set; } = "";
    }

    public sealed class IdentityKeyed
    {
        public long Id { get; set; }

        public Guid TenantId { get; set; }

        public int Plain { get; set; }

        [Encrypted]
        public string Secret { get; set; } = "";
    }

    public sealed class Typed
    {
        public TypedId Id { get; set; }

        public TenantId Tenant { get; set; }

        [Encrypted]
        public string Secret { get; set; } = "";
    }

    public sealed class Group
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        [Encrypted]
        public string? Title { get; set; }

        public List<Person> Members { get; set; } = [];
    }

    public sealed class Membership
    {
        [Encrypted]
        public string? Remark { get; set; }
    }

    private sealed class Dossier
    {
        public int Id { get; set; }

        public Guid TenantId { get; set; }

        public DossierFile File { get; set; } = new();
    }

    private sealed class DossierFile
    {
        public Tag Front { get; set; } = new();

        public Tag Back { get; set; } = new();

        public Place Place { get; set; } = new();

        public List<Tag> Tags { get; set; } = [];
    }

    private sealed class Tag
    {
        public string? Text { get; set; }
    }
}
