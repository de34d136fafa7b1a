using Verify = EfEnvelope.Analyzers.Tests.Verify<EfEnvelope.Analyzers.EncryptionNeverEnabledAnalyzer, EfEnvelope.Analyzers.CodeFixes.EnableEncryptionFix>;

namespace EfEnvelope.Analyzers.Tests;

public sealed partial class EncryptionNeverEnabledTests
{
    private const string Entity = """

        public sealed class Customer
        {
            public int Id { get; set; }
            [Encrypted] public string Ssn { get; set; } = "";
        }
        """;

    [Fact]
    public Task A_context_with_an_encrypted_entity_and_no_call_is_reported_once() => Verify.ReportsAsync($$"""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public sealed class {|EFENV001:ShopContext|} : DbContext
        {
            public DbSet<Customer> Customers => Set<Customer>();
            public DbSet<Customer> Others { get; set; } = null!;
        }
        {{Entity}}
        """);

    [Theory]
    [InlineData("protected override void OnModelCreating(ModelBuilder b) => b.UseEnvelopeEncryption();")]
    [InlineData("protected override void ConfigureConventions(ModelConfigurationBuilder b) => b.UseEnvelopeEncryption();")]
    [InlineData("protected override void OnConfiguring(DbContextOptionsBuilder b) => b.UseEnvelopeEncryption(e => e.UseInMemoryKms());")]
    [InlineData("public static DbContextOptions Make() => EnvelopeDbContextOptionsExtensions.UseEnvelopeEncryption(new DbContextOptionsBuilder(), e => e.UseInMemoryKms()).Options;")]
    public Task Any_form_of_the_call_silences_the_rule(string call) => Verify.ReportsAsync($$"""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public sealed class ShopContext : DbContext
        {
            public DbSet<Customer> Customers => Set<Customer>();
            {{call}}
        }
        {{Entity}}
        """);

    [Fact]
    public Task A_call_elsewhere_in_the_compilation_silences_the_rule() => Verify.ReportsAsync(
    [
        $$"""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public sealed class ShopContext(DbContextOptions<ShopContext> options) : DbContext(options)
        {
            public DbSet<Customer> Customers => Set<Customer>();
        }
        {{Entity}}
        """,
        """
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        static class Startup
        {
            public static void Configure(DbContextOptionsBuilder<ShopContext> options) => options.UseEnvelopeEncryption(e => e.UseInMemoryKms());
        }
        """,
    ]);

    [Theory]
    [InlineData("// b.UseEnvelopeEncryption();")]
    [InlineData("_ = nameof(EnvelopeModelBuilderExtensions.UseEnvelopeEncryption);")]
    [InlineData("Own.UseEnvelopeEncryption();")]
    public Task What_only_looks_like_the_call_does_not(string text) => Verify.ReportsAsync($$"""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public sealed class {|EFENV001:ShopContext|} : DbContext
        {
            public DbSet<Customer> Customers => Set<Customer>();

            protected override void OnModelCreating(ModelBuilder b)
            {
                {{text}}
            }
        }

        static class Own
        {
            public static void UseEnvelopeEncryption() { }
        }
        {{Entity}}
        """);

    [Fact]
    public Task A_library_of_entities_without_a_context_is_not_reported() => Verify.ReportsAsync($"using EfEnvelope;\n{Entity}");

    [Fact]
    public Task A_context_that_does_not_reach_the_entity_is_not_reported() => Verify.ReportsAsync($$"""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public sealed class LogContext : DbContext
        {
            public DbSet<Line> Lines => Set<Line>();
        }

        public sealed class Line { public int Id { get; set; } }
        {{Entity}}
        """);

    [Theory]
    [InlineData("modelBuilder.ApplyConfigurationsFromAssembly(typeof(ShopContext).Assembly);")]
    [InlineData("modelBuilder.ApplyConfiguration(new CustomerConfiguration());")]
    public Task An_entity_of_a_configuration_class_is_reported_of_the_context_that_applies_it(string call) => Verify.ReportsAsync($$"""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;
        using Microsoft.EntityFrameworkCore.Metadata.Builders;

        public sealed class {|EFENV001:ShopContext|} : DbContext
        {
            protected override void OnModelCreating(ModelBuilder modelBuilder) => {{call}}
        }

        public sealed class LogContext : DbContext
        {
            public DbSet<Line> Lines => Set<Line>();
        }

        public sealed class Line { public int Id { get; set; } }

        public sealed class CustomerConfiguration : IEntityTypeConfiguration<Customer>
        {
            public void Configure(EntityTypeBuilder<Customer> builder) { }
        }
        {{Entity}}
        """);

    [Theory]
    [InlineData("modelBuilder.Entity<Customer>();")]
    [InlineData("modelBuilder.Entity<Plain>().Property(p => p.Name).IsEncrypted();")]
    public Task An_entity_that_a_helper_maps_is_reported(string call) => Verify.ReportsAsync($$"""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public sealed class {|EFENV001:ShopContext|} : DbContext
        {
            protected override void OnModelCreating(ModelBuilder modelBuilder) => Models.Add(modelBuilder);
        }

        public static class Models
        {
            public static void Add(ModelBuilder modelBuilder) => {{call}}
        }

        public sealed class Plain { public int Id { get; set; } public string Name { get; set; } = ""; }
        {{Entity}}
        """);

    [Theory]
    [InlineData("public Customer Owner { get; set; } = null!;")]
    [InlineData("public System.Collections.Generic.List<Customer> Owners { get; set; } = new();")]
    [InlineData("public Customer[] Owners { get; set; } = [];")]
    public Task An_entity_reached_by_a_navigation_is_reported(string navigation) => Verify.ReportsAsync($$"""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public sealed class {|EFENV001:ShopContext|} : DbContext
        {
            public DbSet<Account> Accounts => Set<Account>();
        }

        public sealed class Account { public int Id { get; set; } {{navigation}} }
        {{Entity}}
        """);

    [Fact]
    public Task A_property_that_is_not_mapped_reaches_nothing() => Verify.ReportsAsync($$"""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;
        using System.ComponentModel.DataAnnotations.Schema;

        public sealed class ShopContext : DbContext
        {
            public DbSet<Account> Accounts => Set<Account>();
        }

        public sealed class Account { public int Id { get; set; } [NotMapped] public Customer? Owner { get; set; } }
        {{Entity}}
        """);

    [Theory]
    [InlineData("modelBuilder.Entity<Plain>().Property(p => p.Name).IsEncrypted();")]
    [InlineData("modelBuilder.Entity<Plain>(e => e.Property(p => p.Name).HasMaxLength(9).IsEncrypted());")]
    [InlineData("modelBuilder.Entity<Plain>().Property<string>(\"Shadow\").IsEncrypted();")]
    public Task The_fluent_form_is_reported(string call) => Verify.ReportsAsync($$"""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public sealed class {|EFENV001:ShopContext|} : DbContext
        {
            protected override void OnModelCreating(ModelBuilder modelBuilder)
            {
                {{call}}
            }
        }

        public sealed class Plain { public int Id { get; set; } public string Name { get; set; } = ""; }
        """);

    [Fact]
    public Task Fields_and_record_parameters_count() => Verify.ReportsAsync("""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public sealed class {|EFENV001:OneContext|} : DbContext
        {
            public DbSet<One> Ones => Set<One>();
        }

        public sealed class {|EFENV001:TwoContext|} : DbContext
        {
            public DbSet<Two> Twos => Set<Two>();
        }

        public sealed record One(int Id, [property: Encrypted] string Name);

        public sealed class Two { public int Id { get; set; } [Encrypted] private string _name = ""; public string Shown => _name; }
        """);

    [Fact]
    public Task A_derived_context_is_not_reported_beside_its_base() => Verify.ReportsAsync($$"""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public abstract class {|EFENV001:ShopContext|} : DbContext
        {
            public DbSet<Customer> Customers => Set<Customer>();
        }

        public sealed class SqliteShopContext : ShopContext;
        {{Entity}}
        """);

    [Fact]
    public Task A_member_made_plain_again_is_not_reported() => Verify.ReportsAsync("""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public sealed class ShopContext : DbContext
        {
            public DbSet<Plain> Plains => Set<Plain>();

            protected override void OnModelCreating(ModelBuilder modelBuilder) => modelBuilder.Entity<Plain>().Property(p => p.Name).IsNotEncrypted();
        }

        public sealed class {|EFENV001:OtherContext|} : DbContext
        {
            public DbSet<Sealed> Rows => Set<Sealed>();

            protected override void OnModelCreating(ModelBuilder modelBuilder) => modelBuilder.Entity<Sealed>().Property(p => p.Name).IsRequired();
        }

        public sealed class Plain { public int Id { get; set; } [Encrypted] public string Name { get; set; } = ""; }

        public sealed class Sealed { public int Id { get; set; } [Encrypted] public string Name { get; set; } = ""; }
        """);

    [Fact]
    public Task Generated_code_is_not_reported() => Verify.ReportsAsync($$"""
        // <auto-generated/>
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public sealed class ShopContext : DbContext
        {
            public DbSet<Customer> Customers => Set<Customer>();
        }

        public sealed class Customer
        {
            public int Id { get; set; }
            [Encrypted] public string Ssn { get; set; } = "";
        }
        """);

    [Theory]
    [InlineData("using EfEnvelope; class C : DbContext { public DbSet<Customer> X => Set<")]
    [InlineData("using EfEnvelope; using Microsoft.EntityFrameworkCore; class C : DbContext { void M(ModelBuilder b) { b.Entity<>().Property(x => x.).IsEncrypted(); b.UseEnvelopeEncryption( } }")]
    [InlineData("using EfEnvelope; class A : B { } class B : A { [Encrypted] int X { get; } }")]
    [InlineData("using EfEnvelope; using Microsoft.EntityFrameworkCore; partial class : DbContext { DbSet<Missing> A; DbSet<int[]> B; [Encrypted(] string C")]
    public Task Broken_code_throws_nothing(string code) => Verify.SurvivesAsync(code);
}
