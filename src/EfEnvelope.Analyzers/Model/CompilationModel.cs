using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace EfEnvelope.Analyzers.Model;

/// <summary>What a compilation says about its EF Core models, as far as source code shows it. Made once a compilation, lazily.</summary>
internal sealed class CompilationModel
{
    private static readonly ConditionalWeakTable<Compilation, Holder> Cache = new();

    private readonly Compilation _compilation;
    private readonly INamedTypeSymbol _encrypted;
    private readonly Lazy<Configuration> _configuration;
    private readonly ConcurrentDictionary<ISymbol, bool> _members = new(SymbolEqualityComparer.Default);

    private CompilationModel(Compilation compilation, INamedTypeSymbol encrypted, INamedTypeSymbol dbContext)
    {
        _compilation = compilation;
        _encrypted = encrypted;
        DbContext = dbContext;
        Queryable = compilation.GetTypeByMetadataName("System.Linq.IQueryable");
        Expression = compilation.GetTypeByMetadataName("System.Linq.Expressions.Expression`1");
        _configuration = new Lazy<Configuration>(ReadConfiguration);
    }

    public INamedTypeSymbol DbContext { get; }

    public INamedTypeSymbol? Queryable { get; }

    public INamedTypeSymbol? Expression { get; }

    /// <summary>Whether any form of <c>UseEnvelopeEncryption</c> is called; a call that does not bind counts, since the code is being written.</summary>
    public bool IsEnabled => _configuration.Value.Enabled;

    public IReadOnlyList<FluentEncryption> FluentEncryptions => _configuration.Value.Encryptions;

    public IEnumerable<MappedType> MappedTypes => _configuration.Value.Mapped;

    /// <summary>Null where EfEnvelope or EF Core is not referenced.</summary>
    public static CompilationModel? Of(Compilation compilation)
        => Cache.GetValue(
            compilation,
            static c => new Holder(
                c.GetTypeByMetadataName("EfEnvelope.EncryptedAttribute") is { } encrypted && c.GetTypeByMetadataName("Microsoft.EntityFrameworkCore.DbContext") is { } context
                    ? new CompilationModel(c, encrypted, context)
                    : null)).Model;

    public bool IsEncrypted(ISymbol member)
        => member is IPropertySymbol or IFieldSymbol && _members.GetOrAdd(member.OriginalDefinition, m => !_configuration.Value.Plain.Contains(m) && (EncryptedAttribute(m) is not null || _configuration.Value.Encrypted.Contains(m)));

    public AttributeData? EncryptedAttribute(ISymbol member)
    {
        for (ISymbol? current = member; current is not null; current = (current as IPropertySymbol)?.OverriddenProperty)
        {
            if (current.GetAttributes().FirstOrDefault(a => SymbolEqualityComparer.Default.Equals(a.AttributeClass, _encrypted)) is { } found)
            {
                return found;
            }
        }

        return null;
    }

    public bool IsContext(ITypeSymbol? type) => type.BaseTypes().Any(b => SymbolEqualityComparer.Default.Equals(b, DbContext));

    /// <summary>
    /// Whether code of that class may be part of the context's model: the context's own and its bases', a configuration class where the context, or a helper, applies such, and any helper.
    /// </summary>
    public bool Configures(INamedTypeSymbol? enclosing, ImmutableHashSet<ISymbol?> context)
        => context.Contains(enclosing)
            || (enclosing is not null && !IsContext(enclosing)
                && (!enclosing.AllInterfaces.Any(i => i.Name == "IEntityTypeConfiguration") || _configuration.Value.Applying.Any(a => context.Contains(a) || !IsContext(a))));

    public bool IsEntity(ITypeSymbol type) => !_configuration.Value.Dependent.Contains(type) && _configuration.Value.Mapped.Any(m => SymbolEqualityComparer.Default.Equals(m.Type, type));

    public bool HasKeyConfigured(ITypeSymbol type) => _configuration.Value.Keyed.Contains(type);

    public bool HasForeignKeyConfigured(ITypeSymbol type) => _configuration.Value.WithForeignKey.Contains(type);

    /// <summary>Types of this compilation, and of assemblies that reference EfEnvelope: no others can hold encrypted members.</summary>
    public bool MayDeclareEncryption(ITypeSymbol type)
        => type.ContainingAssembly is { } assembly
            && (SymbolEqualityComparer.Default.Equals(assembly, _compilation.Assembly)
                || assembly.Modules.Any(m => m.ReferencedAssemblies.Any(r => r.Name == _encrypted.ContainingAssembly.Name)));

    public bool IsInSource(ITypeSymbol type) => SymbolEqualityComparer.Default.Equals(type.ContainingAssembly, _compilation.Assembly);

    private Configuration ReadConfiguration()
    {
        var found = new Configuration();
        foreach (var tree in _compilation.SyntaxTrees)
        {
            var candidates = TreeFacts.Of(tree).Candidates;
            if (candidates.Count == 0)
            {
                continue;
            }

#pragma warning disable RS1030 // Only for files that name something of interest, once a compilation.
            var semantic = _compilation.GetSemanticModel(tree);
#pragma warning restore RS1030
            foreach (var name in candidates)
            {
                Read(found, name, semantic);
            }
        }

        return found;
    }

    private void Read(Configuration found, SimpleNameSyntax name, SemanticModel semantic)
    {
        switch (name.Identifier.ValueText)
        {
            case "UseEnvelopeEncryption":
                found.Enabled |= IsOurs(semantic.GetSymbolInfo(name)) && name.Ancestors().OfType<InvocationExpressionSyntax>().FirstOrDefault()?.Expression is not IdentifierNameSyntax { Identifier.ValueText: "nameof" };
                break;
            case "IsEncrypted" or "IsNotEncrypted":
                ReadEncryption(found, name, semantic);
                break;
            case "DbSet" or "Entity" or "EntityTypeBuilder" or "IEntityTypeConfiguration" when name is GenericNameSyntax { TypeArgumentList.Arguments: { Count: 1 } arguments }:
                if (semantic.GetTypeInfo(arguments[0]).Type is INamedTypeSymbol { TypeKind: TypeKind.Class } entity)
                {
                    found.Mapped.Add(new MappedType(entity, EnclosingType(name, semantic), name.Identifier.ValueText != "DbSet"));
                }

                break;
            case "ApplyConfiguration" or "ApplyConfigurationsFromAssembly" when EnclosingType(name, semantic) is { } applying:
                found.Applying.Add(applying);
                break;
            case "HasKey" or "HasNoKey" or "HasForeignKey" or "OwnsOne" or "OwnsMany" or "ComplexProperty" or "ComplexCollection" or "Owned":
                ReadStructure(found, name, semantic);
                break;
        }
    }

    private void ReadEncryption(Configuration found, SimpleNameSyntax name, SemanticModel semantic)
    {
        if (name.Parent is not MemberAccessExpressionSyntax { Expression: var receiver } access || access.Parent is not InvocationExpressionSyntax || !IsOurs(semantic.GetSymbolInfo(name)))
        {
            return;
        }

        var member = FluentChain.PropertyOf(receiver, semantic);
        if (name.Identifier.ValueText == "IsNotEncrypted")
        {
            if (member is not null)
            {
                found.Plain.Add(member.OriginalDefinition);
            }

            return;
        }

        if (member is not null)
        {
            found.Encrypted.Add(member.OriginalDefinition);
        }

        found.Encryptions.Add(new FluentEncryption(member, EnclosingType(name, semantic)));
    }

    private static void ReadStructure(Configuration found, SimpleNameSyntax name, SemanticModel semantic)
    {
        if (semantic.GetSymbolInfo(name).Symbol is not IMethodSymbol method || !method.ContainingNamespace.ToDisplayString().StartsWith("Microsoft.EntityFrameworkCore", StringComparison.Ordinal))
        {
            return;
        }

        var receiver = method.ContainingType;
        switch (method.Name)
        {
            case "HasKey" or "HasNoKey" when receiver.TypeArguments.LastOrDefault() is { } keyed:
                found.Keyed.Add(keyed);
                break;
            case "HasForeignKey":
                found.WithForeignKey.UnionWith(receiver.TypeArguments);
                break;
            case "OwnsOne" or "OwnsMany" or "ComplexProperty" or "ComplexCollection" or "Owned" when method.TypeArguments.FirstOrDefault() is { } dependent:
                found.Dependent.Add(dependent.WithNullableAnnotation(NullableAnnotation.None));
                break;
        }
    }

    private bool IsOurs(SymbolInfo info)
        => (info.Symbol is null && info.CandidateSymbols.IsEmpty)
            || new[] { info.Symbol }.Concat(info.CandidateSymbols).Any(s => SymbolEqualityComparer.Default.Equals(s?.ContainingAssembly, _encrypted.ContainingAssembly));

    private static INamedTypeSymbol? EnclosingType(SyntaxNode node, SemanticModel semantic)
        => node.Ancestors().OfType<TypeDeclarationSyntax>().FirstOrDefault() is { } declaration ? semantic.GetDeclaredSymbol(declaration) as INamedTypeSymbol : null;

    private sealed class Holder(CompilationModel? model)
    {
        public CompilationModel? Model { get; } = model;
    }

    private sealed class Configuration
    {
        public bool Enabled { get; set; }

        public List<FluentEncryption> Encryptions { get; } = [];

        public List<MappedType> Mapped { get; } = [];

        public HashSet<ISymbol> Encrypted { get; } = new(SymbolEqualityComparer.Default);

        public HashSet<ISymbol> Plain { get; } = new(SymbolEqualityComparer.Default);

        public HashSet<ITypeSymbol> Applying { get; } = new(SymbolEqualityComparer.Default);

        public HashSet<ITypeSymbol> Keyed { get; } = new(SymbolEqualityComparer.Default);

        public HashSet<ITypeSymbol> WithForeignKey { get; } = new(SymbolEqualityComparer.Default);

        public HashSet<ITypeSymbol> Dependent { get; } = new(SymbolEqualityComparer.Default);
    }
}
