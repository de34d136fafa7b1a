using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace EfEnvelope.Tests.Architecture;

/// <summary>Which folder's files name types of which other folder, by the compiler's own binding.</summary>
internal sealed class SourceGraph
{
    /// <summary>Files that stand in no folder.</summary>
    public const string Root = "(root)";

    private const string Usings = "global using System; global using System.Collections.Generic; global using System.IO; global using System.Linq; global using System.Net.Http; global using System.Threading; global using System.Threading.Tasks;";

    private static readonly Lazy<List<PortableExecutableReference>> References = new(() =>
        [.. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator).Where(p => !Path.GetFileName(p).StartsWith("EfEnvelope", StringComparison.Ordinal)).Select(p => MetadataReference.CreateFromFile(p))]);

    private readonly HashSet<Import> _imports = [];

    private readonly HashSet<(string, string)> _namespaces = [];

    private SourceGraph(IEnumerable<(string Path, string Text)> sources)
    {
        var trees = sources.Select(s => CSharpSyntaxTree.ParseText(s.Text, path: s.Path)).ToList();
        var compilation = CSharpCompilation.Create("graph", [.. trees, CSharpSyntaxTree.ParseText(Usings)], References.Value,
            new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, allowUnsafe: true, nullableContextOptions: NullableContextOptions.Enable));
        Errors = [.. compilation.GetDiagnostics().Where(d => d.Severity == DiagnosticSeverity.Error)];
        Folders = [.. trees.Select(t => FolderOf(t.FilePath)).Distinct()];
        foreach (var tree in trees)
        {
            Follow(tree, compilation.GetSemanticModel(tree));
        }
    }

    public IReadOnlyCollection<Import> Imports => _imports;

    /// <summary>The namespaces of others' types that a folder's files name.</summary>
    public IReadOnlyCollection<(string Folder, string Namespace)> Namespaces => _namespaces;

    public IReadOnlyCollection<string> Folders { get; }

    public IReadOnlyCollection<Diagnostic> Errors { get; }

    public static SourceGraph Of(params (string Path, string Text)[] sources) => new(sources);

    public static SourceGraph OfFolder(string root)
        => new(Directory.EnumerateFiles(root, "*.cs", SearchOption.AllDirectories)
            .Select(f => (Path: Path.GetRelativePath(root, f).Replace(Path.DirectorySeparatorChar, '/'), f))
            .Where(f => !f.Path.StartsWith("obj/", StringComparison.Ordinal) && !f.Path.StartsWith("bin/", StringComparison.Ordinal))
            .Select(f => (f.Path, File.ReadAllText(f.f))));

    private static string FolderOf(string path) => path.Split('/') is { Length: > 1 } parts ? parts[0] : Root;

    private void Follow(SyntaxTree tree, SemanticModel model)
    {
        var from = FolderOf(tree.FilePath);
        foreach (var name in tree.GetRoot().DescendantNodes().OfType<SimpleNameSyntax>())
        {
            var symbol = model.GetSymbolInfo(name).Symbol;
            var type = (symbol is IAliasSymbol alias ? alias.Target : symbol) switch
            {
                INamedTypeSymbol named => named,
                INamespaceSymbol or null => null,
                var member => member.ContainingType,
            };
            if (type is null)
            {
                continue;
            }

            if (type.DeclaringSyntaxReferences is not [var declared, ..])
            {
                _namespaces.Add((from, type.ContainingNamespace?.ToDisplayString() ?? ""));
            }
            else if (FolderOf(declared.SyntaxTree.FilePath) is var to && to != from)
            {
                _imports.Add(new Import(from, to, type.Name, Path.GetFileName(tree.FilePath)));
            }
        }
    }

    public sealed record Import(string From, string To, string Type, string File);
}
