using EfEnvelope.JobProcess.Load;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Conventions;

/// <summary>The entities.</summary>
public abstract partial class RefusedModelTests
{
    public class Marked
    {
        public int Id { get; set; }

        [Encrypted]
        public string Secret { get; set; } = "";

        public string Other { get; set; } = "";

        public DateTime When { get; set; }
    }

    public sealed class MarkedChild : Marked
    {
        [Encrypted]
        public string? ChildSecret { get; set; }

        public Guid ChildTenant { get; set; }
    }

    public sealed class MarkedSibling : Marked
    {
        [Encrypted]
        public string? ChildSecret { get; set; }
    }

    public sealed class Parent
    {
        public int Id { get; set; }

        public string Code { get; set; } = "";
    }

    public sealed class Child
    {
        public int Id { get; set; }

        public string Link { get; set; } = "";
    }

    public sealed class Navigates
    {
        public int Id { get; set; }

        public Child? Child { get; set; }

        [Encrypted]
        public string? Secret { get; set; }
    }

    [Index(nameof(Secret))]
    public sealed class IndexedByAttribute
    {
        public int Id { get; set; }

        [Encrypted]
        public string Secret { get; set; } = "";
    }

    [Index(nameof(Id), nameof(Secret), IsUnique = true)]
    public sealed class UniqueByAttribute
    {
        public int Id { get; set; }

        [Encrypted]
        public string Secret { get; set; } = "";
    }

    public sealed class KeyByConvention
    {
        [Encrypted]
        public string Id { get; set; } = "";
    }

    public sealed class KeyByAttribute
    {
        [Encrypted]
        [System.ComponentModel.DataAnnotations.Key]
        public string Code { get; set; } = "";
    }

    public sealed class ForeignKeyByConvention
    {
        public int Id { get; set; }

        [Encrypted]
        public int? ParentId { get; set; }

        public Parent? Parent { get; set; }
    }

    public sealed class VersionByAttribute
    {
        public int Id { get; set; }

        [Encrypted]
        [System.ComponentModel.DataAnnotations.ConcurrencyCheck]
        public long Version { get; set; }
    }

    public sealed class Owner
    {
        public int Id { get; set; }

        public Home? Home { get; set; }

        public Contact Contact { get; set; } = new();
    }

    public sealed class Home
    {
        [Encrypted]
        public string? Street { get; set; }
    }

    [System.ComponentModel.DataAnnotations.Schema.ComplexType]
    public sealed class Contact
    {
        [Encrypted]
        public string? Phone { get; set; }
    }

    public readonly record struct TenantId(Guid Value);

    public sealed class StronglyTyped
    {
        public int Id { get; set; }

        public TenantId Tenant { get; set; }

        [Encrypted]
        public string? Secret { get; set; }
    }

    public static class Other
    {
        public sealed class Marked
        {
            public int Id { get; set; }

            [Encrypted]
            public string Secret { get; set; } = "";
        }
    }
}
