using Check = EfEnvelope.Analyzers.Tests.Verify<EfEnvelope.Analyzers.EncryptedKeyOrIndexAnalyzer, EfEnvelope.Analyzers.CodeFixes.KeyOrIndexFix>;

namespace EfEnvelope.Analyzers.Tests;

public sealed class EncryptedKeyOrIndexTests
{
    [Theory]
    [InlineData("public class C { [{|EFENV002:Key|}, Encrypted] public string Code { get; set; } }")]
    [InlineData("[{|EFENV002:PrimaryKey(nameof(Code))|}] public class C { [Encrypted] public string Code { get; set; } }")]
    [InlineData("[{|EFENV002:Index(nameof(Name), nameof(Code))|}] public class C { public int Id { get; set; } public string Name { get; set; } [Encrypted] public string Code { get; set; } }")]
    [InlineData("public class C { public int Id { get; set; } [{|EFENV002:ConcurrencyCheck|}, Encrypted] public string Code { get; set; } }")]
    [InlineData("public class C { public int Id { get; set; } [{|EFENV002:Timestamp|}, Encrypted] public byte[] Code { get; set; } }")]
    [InlineData("public class P { public int Id { get; set; } }\npublic class C { public int Id { get; set; } [Encrypted] public int Parent { get; set; } [{|EFENV002:ForeignKey(\"Parent\")|}] public P Nav { get; set; } }")]
    public Task An_attribute_that_needs_the_plaintext_is_reported(string source) => Check.DiagnosticsAsync(source);

    [Theory]
    [InlineData("b.Entity<C>().HasKey(c => {|EFENV002:c.Code|});")]
    [InlineData("b.Entity<C>().HasKey({|EFENV002:nameof(C.Code)|});")]
    [InlineData("b.Entity<C>().HasIndex(c => new { c.Name, {|EFENV002:c.Code|} }).IsUnique();")]
    [InlineData("b.Entity<C>().HasIndex({|EFENV002:\"Code\"|});")]
    [InlineData("b.Entity<C>().HasAlternateKey(c => {|EFENV002:c.Code|});")]
    [InlineData("b.Entity<C>().HasOne(c => c.Parent).WithMany().HasForeignKey(c => {|EFENV002:c.Code|});")]
    [InlineData("b.Entity<C>().Property(c => c.Code).{|EFENV002:IsConcurrencyToken|}();")]
    [InlineData("b.Entity<C>().Property(c => c.Name).IsEncrypted(); b.Entity<C>().HasIndex(c => {|EFENV002:c.Name|});")]
    public Task The_fluent_form_is_reported(string statement)
        => Check.DiagnosticsAsync(
            $$"""
            public class C { public int Id { get; set; } public string Name { get; set; } [Encrypted] public string Code { get; set; } public C Parent { get; set; } }
            public class Shop : DbContext { protected override void OnModelCreating(ModelBuilder b) { {{statement}} } }
            """);

    [Theory]
    [InlineData("public class C { [Encrypted] public string {|EFENV002:Id|} { get; set; } }")]
    [InlineData("public class C { [Encrypted] public string {|EFENV002:CId|} { get; set; } }")]
    [InlineData("public class P { public int Id { get; set; } }\npublic class C { public int Id { get; set; } [Encrypted] public int? {|EFENV002:OwnerId|} { get; set; } public P Owner { get; set; } }")]
    public Task A_key_by_its_name_is_reported(string source)
        => Check.DiagnosticsAsync(source + "\npublic class Shop : DbContext { public DbSet<C> C { get; set; } " + (source.Contains("class P ", StringComparison.Ordinal) ? "public DbSet<P> P { get; set; } }" : "}"));

    [Theory]
    [InlineData("public class C { public int Id { get; set; } [Encrypted] public string CId { get; set; } }", "")]
    [InlineData("public class C { [Key] public int Number { get; set; } [Encrypted] public string Id { get; set; } }", "")]
    [InlineData("[Keyless] public class C { [Encrypted] public string Id { get; set; } }", "")]
    [InlineData("public class C { public int Number { get; set; } [Encrypted] public string Id { get; set; } }", "b.Entity<C>().HasKey(c => c.Number);")]
    [InlineData("public class C { public int Id { get; set; } public string Name { get; set; } [Encrypted] public string Code { get; set; } }", "b.Entity<C>().HasIndex(c => c.Name); b.Entity<C>().Property(c => c.Code).IsConcurrencyToken(false);")]
    [InlineData("public class D { [Encrypted] public string Id { get; set; } }\npublic class C { public int Id { get; set; } public D Part { get; set; } }", "b.Entity<C>().OwnsOne<D>(c => c.Part);")]
    [InlineData("public class C { public int Id { get; set; } [Encrypted] public string Code { get; set; } }", "b.Entity<C>().Property(c => c.Code).IsNotEncrypted(); b.Entity<C>().HasIndex(c => c.Code);")]
    public Task What_EF_does_not_take_for_a_key_is_left_alone(string source, string statement)
        => Check.DiagnosticsAsync(source + "\npublic class Shop : DbContext { public DbSet<C> C { get; set; } protected override void OnModelCreating(ModelBuilder b) { " + statement + " } }");

    [Fact]
    public Task A_library_without_a_context_knows_no_keys_by_name() => Check.DiagnosticsAsync("public class C { [Encrypted] public string Id { get; set; } }");

    [Theory]
    [InlineData("b.Entity<C>().HasIndex(c => c.")]
    [InlineData("b.Entity<C>().HasIndex(")]
    [InlineData("b.Entity<Missing>().HasKey(x => x.Y);")]
    [InlineData("b.HasIndex(nameof());")]
    public Task Broken_code_raises_no_exception(string statement)
        => Check.DiagnosticsAsync("[Index()] [Index(nameof(Missing))] public class C { [Encrypted] [{|EFENV002:ForeignKey|}] public string Code { get; set; } }\npublic class Shop : DbContext { protected override void OnModelCreating(ModelBuilder b) { " + statement + " } }", broken: true);

    [Fact]
    public Task The_attribute_of_the_index_can_be_removed_everywhere()
        => Check.FixAsync(
            """
            [{|EFENV002:Index(nameof(Code))|}]
            public class A { public int Id { get; set; } [Encrypted] public string Code { get; set; } }
            [{|EFENV002:Index(nameof(Code), IsUnique = true)|}]
            public class B { public int Id { get; set; } [Encrypted] public string Code { get; set; } }
            """,
            """
            public class A { public int Id { get; set; } [Encrypted] public string Code { get; set; } }
            public class B { public int Id { get; set; } [Encrypted] public string Code { get; set; } }
            """,
            "Remove [Index]");

    [Fact]
    public Task Encryption_can_be_removed_instead()
        => Check.FixAsync(
            """
            public class C
            {
                /// <summary>A comment stays.</summary>
                [Encrypted]
                [{|EFENV002:Key|}]
                public string Code { get; set; }
            }
            """,
            """
            public class C
            {
                /// <summary>A comment stays.</summary>
                [Key]
                public string Code { get; set; }
            }
            """,
            "Remove [Encrypted]");

    [Fact]
    public Task A_fluent_index_can_be_removed_and_the_mapping_stays()
        => Check.FixAsync(
            """
            public class C { public int Id { get; set; } [Encrypted] public string Code { get; set; } }
            public class Shop : DbContext
            {
                protected override void OnModelCreating(ModelBuilder b)
                {
                    b.Entity<C>().HasIndex(c => {|EFENV002:c.Code|}).IsUnique();
                }
            }
            """,
            """
            public class C { public int Id { get; set; } [Encrypted] public string Code { get; set; } }
            public class Shop : DbContext
            {
                protected override void OnModelCreating(ModelBuilder b)
                {
                    b.Entity<C>();
                }
            }
            """,
            "Remove the index");

    [Fact]
    public Task The_index_of_a_statement_without_braces_leaves_an_empty_block()
        => Check.FixAsync(
            """
            public class C { public int Id { get; set; } [Encrypted] public string Code { get; set; } }
            public class Shop : DbContext { protected override void OnModelCreating(ModelBuilder b) { var c = b.Entity<C>(); if (c.Metadata.IsOwned()) c.HasIndex(x => {|EFENV002:x.Code|}); } }
            """,
            """
            public class C { public int Id { get; set; } [Encrypted] public string Code { get; set; } }
            public class Shop : DbContext { protected override void OnModelCreating(ModelBuilder b) { var c = b.Entity<C>(); if (c.Metadata.IsOwned()) { } } }
            """,
            "Remove the index");

    [Fact]
    public Task A_fluent_concurrency_token_can_be_removed()
        => Check.FixAsync(
            """
            public class C { public int Id { get; set; } [Encrypted] public string Code { get; set; } }
            public class Shop : DbContext { protected override void OnModelCreating(ModelBuilder b) { b.Entity<C>().Property(c => c.Code).{|EFENV002:IsConcurrencyToken|}().HasMaxLength(9); } }
            """,
            """
            public class C { public int Id { get; set; } [Encrypted] public string Code { get; set; } }
            public class Shop : DbContext { protected override void OnModelCreating(ModelBuilder b) { b.Entity<C>().Property(c => c.Code).HasMaxLength(9); } }
            """,
            "Remove IsConcurrencyToken()");

    [Theory]
    [InlineData("b.Entity<C>().HasIndex(c => new { c.Id, {|EFENV002:c.Code|} });", "Remove the index")]
    [InlineData("b.Entity<C>().HasAlternateKey(c => {|EFENV002:c.Code|});", "Remove the index")]
    public Task What_other_properties_share_is_not_removed(string statement, string key)
    {
        var code = "public class C { public int Id { get; set; } [Encrypted] public string Code { get; set; } }\npublic class Shop : DbContext { protected override void OnModelCreating(ModelBuilder b) { " + statement + " } }";
        return Check.FixAsync(code, code, key);
    }

    [Fact]
    public Task Encryption_is_removed_once_in_another_file_for_all_that_it_stands_in_the_way_of()
        => Verify<EncryptedKeyOrIndexAnalyzer, CodeFixes.KeyOrIndexFix>.FixesAsync(
            [
                "using Microsoft.EntityFrameworkCore;\npublic class Shop : DbContext { protected override void OnModelCreating(ModelBuilder b) { b.Entity<C>().HasIndex(c => {|EFENV002:c.Code|}); b.Entity<C>().HasAlternateKey(c => {|EFENV002:c.Code|}); } }",
                "using EfEnvelope;\npublic record C(int Id, [property: Encrypted] string Code);",
            ],
            [
                "using Microsoft.EntityFrameworkCore;\npublic class Shop : DbContext { protected override void OnModelCreating(ModelBuilder b) { b.Entity<C>().HasIndex(c => c.Code); b.Entity<C>().HasAlternateKey(c => c.Code); } }",
                "using EfEnvelope;\npublic record C(int Id, string Code);",
            ],
            "Remove [Encrypted]",
            rounds: 1);
}
