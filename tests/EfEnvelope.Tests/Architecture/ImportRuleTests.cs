namespace EfEnvelope.Tests.Architecture;

/// <summary>
/// Keeps what may import what. A folder imports another when one of its files names a type that is declared there, or a member of one, whatever the namespace; the compiler says so, not a search for words.
/// The root of the project and the leaves (<c>Errors</c>; <c>Diagnostics</c>, but not by <c>Cryptography</c>) may be named by all, and name nothing above them. <c>Infrastructure</c> wires and may name everything.
/// </summary>
public sealed class ImportRuleTests
{
    private static readonly Dictionary<string, string[]> Allowed = new(StringComparer.Ordinal)
    {
        [SourceGraph.Root] = [],
        ["Errors"] = [],
        ["Diagnostics"] = ["Errors"],
        ["Cryptography"] = [],
        ["Envelopes"] = ["Cryptography"],
        ["KeyManagement"] = [],
        ["Keys"] = ["KeyManagement", "Envelopes", "Cryptography"],
        ["Metadata"] = ["Envelopes"],
        ["Scoping"] = ["Keys", "Metadata"],
        ["Storage"] = ["Scoping", "Keys", "Envelopes", "Cryptography", "Metadata", "KeyManagement"],
        ["Conventions"] = ["Storage", "Metadata", "Envelopes"],
        ["Writing"] = ["Storage", "Scoping", "Keys", "Envelopes", "Metadata"],
        ["Reading"] = ["Storage", "Scoping", "Keys", "Envelopes", "Metadata"],
        ["Querying"] = ["Storage", "Scoping", "Metadata"],
        ["Census"] = ["Storage", "Keys", "Metadata", "Envelopes"],
        ["Proof"] = ["Census", "Storage", "Keys", "Envelopes", "Metadata"],
        ["Reencryption"] = ["Proof", "Census", "Storage", "Keys", "Envelopes", "Cryptography", "Metadata"],
        ["Lifecycle"] = ["Proof", "Census", "Reencryption", "Storage", "Keys", "KeyManagement", "Cryptography", "Envelopes", "Metadata"],
        ["Hosting"] = ["Lifecycle", "Reencryption"],
    };

    private static readonly string[] Leaves = [SourceGraph.Root, "Errors", "Diagnostics"];

    private static readonly string[] NoEntityFramework = ["Cryptography", "Envelopes", "KeyManagement", "Keys"];

    private static readonly Lazy<SourceGraph> Product = new(() => SourceGraph.OfFolder(Path.Combine(RepositoryFolder.Path, "src", "EfEnvelope")));

    [Fact]
    public void No_folder_imports_what_it_may_not() => Assert.Empty(Violations(Product.Value));

    [Fact]
    public void No_folder_may_import_what_it_does_not_use()
    {
        var used = Product.Value.Imports.Select(i => (i.From, i.To)).ToHashSet();
        Assert.Equal([], Allowed.SelectMany(a => a.Value.Select(to => (a.Key, to))).Except(used));
    }

    [Fact]
    public void The_rule_has_no_circle()
    {
        Assert.All(Allowed.Keys, folder => Assert.DoesNotContain(folder, Reached(folder)));

        static HashSet<string> Reached(string from)
        {
            var reached = new HashSet<string>(StringComparer.Ordinal);
            var waiting = new Stack<string>(Allowed[from]);
            while (waiting.TryPop(out var next))
            {
                if (reached.Add(next))
                {
                    Allowed[next].ToList().ForEach(waiting.Push);
                }
            }

            return reached;
        }
    }

    [Fact]
    public void Key_code_never_references_EF()
        => Assert.DoesNotContain(Product.Value.Namespaces, n => NoEntityFramework.Contains(n.Folder) && n.Namespace.StartsWith("Microsoft.EntityFrameworkCore", StringComparison.Ordinal));

    [Fact]
    public void Every_folder_has_a_rule()
        => Assert.Equal(Allowed.Keys.Append("Infrastructure").Order(StringComparer.Ordinal), Product.Value.Folders.Order(StringComparer.Ordinal));

    /// <summary>Without it, sources that the compiler cannot bind would pass as sources that import nothing. What is missing here are the parts that source generators write, and the project's consent to EF's experimental members.</summary>
    [Fact]
    public void The_compiler_understands_the_sources()
        => Assert.DoesNotContain(Product.Value.Errors, e => e.Id is not ("CS8795" or "EF9100"));

    [Theory]
    [InlineData("Cryptography", "EfEnvelope.Inner x;", true)]
    [InlineData("Cryptography", "object x = Outer.Made;", true)]
    [InlineData("Cryptography", "void M() => Outer.Made.Act();", true)]
    [InlineData("Lifecycle", "void M() => Outer.Made.Act();", false)]
    [InlineData("Lifecycle", "int Inner; int M() => Inner;", false)]
    public void The_check_notices_types_of_other_folders_whatever_their_namespace(string folder, string code, bool violates)
    {
        var graph = SourceGraph.Of(
            ("Keys/Inner.cs", "namespace EfEnvelope; public class Inner { public void Act() { } }"),
            ("Keys/Outer.cs", "namespace EfEnvelope.Test; public static class Outer { public static Inner Made => null; }"),
            ($"{folder}/Tested.cs", $"using EfEnvelope.Test; namespace EfEnvelope.Tested; class Tested {{ {code} }}"));
        Assert.Equal(violates, Violations(graph).Any());
    }

    [Fact]
    public void The_check_notices_EF_in_code_of_keys()
        => Assert.Contains(("Keys", "Microsoft.EntityFrameworkCore"), SourceGraph.Of(("Keys/X.cs", "namespace EfEnvelope.Keys; class X { void M(Microsoft.EntityFrameworkCore.DbContext c) => c.Dispose(); }")).Namespaces);

    private static IEnumerable<string> Violations(SourceGraph graph)
        => graph.Imports.Where(i => i.From != "Infrastructure" && !Allowed[i.From].Contains(i.To) && (!Leaves.Contains(i.To) || Leaves.Contains(i.From) || (i.From, i.To) == ("Cryptography", "Diagnostics")))
            .Select(i => $"{i.File} in {i.From} imports {i.Type} of {i.To}");
}
