using System.Runtime.CompilerServices;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace EfEnvelope.Analyzers.Model;

/// <summary>The few names of a file that may configure a model. Trees are immutable and shared by successive compilations, so each is walked once.</summary>
internal sealed class TreeFacts
{
    private static readonly ConditionalWeakTable<SyntaxTree, TreeFacts> Cache = new();

    private static readonly HashSet<string> Names = new(StringComparer.Ordinal)
    {
        "UseEnvelopeEncryption", "IsEncrypted", "IsNotEncrypted", "HasKey", "HasNoKey", "HasForeignKey", "OwnsOne", "OwnsMany", "ComplexProperty", "ComplexCollection",
        "DbSet", "Entity", "Owned", "EntityTypeBuilder", "IEntityTypeConfiguration", "ApplyConfiguration", "ApplyConfigurationsFromAssembly",
    };

    private TreeFacts(SyntaxTree tree)
        => Candidates = [.. tree.GetRoot().DescendantNodes().OfType<SimpleNameSyntax>().Where(n => Names.Contains(n.Identifier.ValueText))];

    public IReadOnlyList<SimpleNameSyntax> Candidates { get; }

    public static TreeFacts Of(SyntaxTree tree) => Cache.GetValue(tree, static t => new TreeFacts(t));
}
