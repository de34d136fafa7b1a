using Verify = EfEnvelope.Analyzers.Tests.Verify<EfEnvelope.Analyzers.EncryptionNeverEnabledAnalyzer, EfEnvelope.Analyzers.CodeFixes.EnableEncryptionFix>;

namespace EfEnvelope.Analyzers.Tests;

/// <summary>The fix.</summary>
public sealed partial class EncryptionNeverEnabledTests
{
    [Fact]
    public Task The_fix_ends_OnModelCreating_with_the_call() => Verify.FixesAsync(
        $$"""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public sealed class {|EFENV001:ShopContext|} : DbContext
        {
            public DbSet<Customer> Customers => Set<Customer>();

            protected override void OnModelCreating(ModelBuilder builder)
            {
                builder.Entity<Customer>().ToTable("customers");
            }
        }
        {{Entity}}
        """,
        $$"""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public sealed class ShopContext : DbContext
        {
            public DbSet<Customer> Customers => Set<Customer>();

            protected override void OnModelCreating(ModelBuilder builder)
            {
                builder.Entity<Customer>().ToTable("customers");
                builder.UseEnvelopeEncryption();
            }
        }
        {{Entity}}
        """);

    [Fact]
    public Task The_fix_keeps_an_expression_body_as_a_statement() => Verify.FixesAsync(
        $$"""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public sealed class {|EFENV001:ShopContext|} : DbContext
        {
            protected override void OnModelCreating(ModelBuilder modelBuilder) => modelBuilder.Entity<Customer>().ToTable("customers");
        }
        {{Entity}}
        """,
        $$"""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public sealed class ShopContext : DbContext
        {
            protected override void OnModelCreating(ModelBuilder modelBuilder)
            {
                modelBuilder.Entity<Customer>().ToTable("customers");
                modelBuilder.UseEnvelopeEncryption();
            }
        }
        {{Entity}}
        """);

    [Fact]
    public Task The_fix_overrides_OnModelCreating_and_adds_the_using() => Verify.FixesAsync(
        [
            """
            using Microsoft.EntityFrameworkCore;
            using Models;

            public sealed class {|EFENV001:ShopContext|} : DbContext
            {
                public DbSet<Customer> Customers => Set<Customer>();
            }
            """,
            $"using EfEnvelope;\nnamespace Models;\n{Entity}",
        ],
        [
            """
            using EfEnvelope;
            using Microsoft.EntityFrameworkCore;
            using Models;

            public sealed class ShopContext : DbContext
            {
                public DbSet<Customer> Customers => Set<Customer>();

                protected override void OnModelCreating(ModelBuilder modelBuilder)
                {
                    modelBuilder.UseEnvelopeEncryption();
                }
            }
            """,
            $"using EfEnvelope;\nnamespace Models;\n{Entity}",
        ]);

    [Fact]
    public Task All_contexts_of_a_project_are_fixed_at_once() => Verify.FixesAsync(
        [
            """
            using Microsoft.EntityFrameworkCore;
            using Models;

            public sealed class {|EFENV001:OneContext|} : BaseContext
            {
                public DbSet<Customer> Customers => Set<Customer>();
            }

            public sealed class {|EFENV001:TwoContext|} : DbContext
            {
                public DbSet<Customer> Customers => Set<Customer>();
            }

            public abstract class BaseContext : DbContext
            {
                protected override void OnModelCreating(ModelBuilder modelBuilder) { }
            }
            """,
            $"using EfEnvelope;\nnamespace Models;\n{Entity}",
        ],
        // The rule is content with the first call.
        [
            """
            using EfEnvelope;
            using Microsoft.EntityFrameworkCore;
            using Models;

            public sealed class OneContext : BaseContext
            {
                public DbSet<Customer> Customers => Set<Customer>();

                protected override void OnModelCreating(ModelBuilder modelBuilder)
                {
                    base.OnModelCreating(modelBuilder);
                    modelBuilder.UseEnvelopeEncryption();
                }
            }

            public sealed class TwoContext : DbContext
            {
                public DbSet<Customer> Customers => Set<Customer>();
            }

            public abstract class BaseContext : DbContext
            {
                protected override void OnModelCreating(ModelBuilder modelBuilder) { }
            }
            """,
            $"using EfEnvelope;\nnamespace Models;\n{Entity}",
        ],
        allAtOnce:
        [
            """
            using EfEnvelope;
            using Microsoft.EntityFrameworkCore;
            using Models;

            public sealed class OneContext : BaseContext
            {
                public DbSet<Customer> Customers => Set<Customer>();

                protected override void OnModelCreating(ModelBuilder modelBuilder)
                {
                    base.OnModelCreating(modelBuilder);
                    modelBuilder.UseEnvelopeEncryption();
                }
            }

            public sealed class TwoContext : DbContext
            {
                public DbSet<Customer> Customers => Set<Customer>();

                protected override void OnModelCreating(ModelBuilder modelBuilder)
                {
                    modelBuilder.UseEnvelopeEncryption();
                }
            }

            public abstract class BaseContext : DbContext
            {
                protected override void OnModelCreating(ModelBuilder modelBuilder) { }
            }
            """,
            $"using EfEnvelope;\nnamespace Models;\n{Entity}",
        ]);

    [Fact]
    public Task A_sealed_OnModelCreating_of_a_base_class_leaves_no_fix() => Verify.FixesNothingAsync(
        $$"""
        using EfEnvelope;
        using Microsoft.EntityFrameworkCore;

        public abstract class BaseContext : DbContext
        {
            protected sealed override void OnModelCreating(ModelBuilder modelBuilder) { }
        }

        public sealed class {|EFENV001:ShopContext|} : BaseContext
        {
            public DbSet<Customer> Customers => Set<Customer>();
        }
        {{Entity}}
        """);
}
