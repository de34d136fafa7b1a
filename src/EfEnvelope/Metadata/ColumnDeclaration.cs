using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.CompilerServices;
using EfEnvelope.Envelopes;

namespace EfEnvelope.Metadata;

/// <summary>
/// What the model expects of one encrypted column. Converters carry it as a literal token, so that they capture nothing (model caching, pooling and compiled
/// models work): <c>1;scope;flags;padding;subject;column id</c>, or <c>2;scope;flags;padding;subject;former ids;column id</c>. Equal tokens give the same instance.
/// </summary>
internal sealed class ColumnDeclaration
{
    private static readonly ConcurrentDictionary<string, ColumnDeclaration> Parsed = new(StringComparer.Ordinal);

    private const int RecentSlots = 64;

    /// <summary>By the token's identity: a converter passes the same literal for every cell, and a row has several columns.</summary>
    [ThreadStatic]
    private static (string? Token, ColumnDeclaration? Declaration)[]? _recent;

    private ColumnDeclaration(string token, string columnId, string[] formerColumnIds, DeclaredScope parent, string? subjectName, bool perRow, bool isAmbient, bool rowBound, bool armored, int padding)
    {
        Token = token;
        Column = BoundColumn.Create(columnId, formerColumnIds);
        FormerColumnIds = formerColumnIds;
        Parent = parent;
        SubjectName = subjectName;
        PerRow = perRow;
        IsAmbient = isAmbient;
        RowBound = rowBound;
        Armored = armored;
        Padding = padding;
    }

    public string Token { get; }

    /// <summary>Its present and former ids, as envelopes are bound to them.</summary>
    public BoundColumn Column { get; }

    public string ColumnId => Column.Id;

    /// <summary>Ids under which older values of the column were sealed: they open too.</summary>
    public IReadOnlyList<string> FormerColumnIds { get; }

    public DeclaredScope Parent { get; }

    public string? SubjectName { get; }

    /// <summary>Rows have keys of their own.</summary>
    public bool PerRow { get; }

    /// <summary>The tenant comes from the context.</summary>
    public bool IsAmbient { get; }

    public bool RowBound { get; }

    public bool Armored { get; }

    /// <summary>Bucket in bytes; 0 means none.</summary>
    public int Padding { get; }

    public static string CreateToken(string columnId, ScopeDeclaration scope, bool rowBound, bool armored, int padding, IReadOnlyList<string>? formerColumnIds = null)
    {
        var kind = scope.Parent switch { DeclaredScope.Tenant => scope.IsAmbient ? "a" : "t", DeclaredScope.Subject => "s", _ => "g" };
        var flags = (scope.PerRow ? "r" : "") + (rowBound ? "b" : "") + (armored ? "t" : "");
        var subject = Uri.EscapeDataString(scope.SubjectName ?? "");
        return formerColumnIds is { Count: > 0 }
            ? string.Create(CultureInfo.InvariantCulture, $"2;{kind};{flags};{padding};{subject};{string.Join(',', formerColumnIds.Select(Uri.EscapeDataString))};{columnId}")
            : string.Create(CultureInfo.InvariantCulture, $"1;{kind};{flags};{padding};{subject};{columnId}");
    }

    /// <summary>The declaration of a token that <see cref="CreateToken"/> made.</summary>
    public static ColumnDeclaration Of(string token)
    {
        var recent = _recent ??= new (string?, ColumnDeclaration?)[RecentSlots];
        ref var slot = ref recent[RuntimeHelpers.GetHashCode(token) & (RecentSlots - 1)];
        if (!ReferenceEquals(slot.Token, token))
        {
            slot = (token, Parsed.GetOrAdd(token, Parse));
        }

        return slot.Declaration!;
    }

    /// <summary>Whether a key of this scope may stand in this column, by kind (the row's own value is compared where it is known).</summary>
    public bool AcceptsScope(string scope)
    {
        var parent = scope.AsSpan();
        if (parent.StartsWith("row:", StringComparison.Ordinal))
        {
            if (!PerRow)
            {
                return false;
            }

            var at = parent.IndexOf('@');
            if (at < 0)
            {
                return false;
            }

            parent = parent[(at + 1)..];
        }
        else if (PerRow)
        {
            return false;
        }

        return Parent switch
        {
            DeclaredScope.Tenant => parent.StartsWith("tenant:", StringComparison.Ordinal),
            DeclaredScope.Subject => parent.StartsWith("subject:", StringComparison.Ordinal)
                && parent[8..].StartsWith(SubjectName, StringComparison.Ordinal)
                && parent.Length > 8 + SubjectName!.Length && parent[8 + SubjectName.Length] == '/',
            _ => parent.SequenceEqual("global"),
        };
    }

    private static ColumnDeclaration Parse(string token)
    {
        var hasFormer = token.StartsWith("2;", StringComparison.Ordinal);
        var count = hasFormer ? 7 : 6;
        var parts = token.Split(';', count);
        if (parts.Length != count || parts[0] is not ("1" or "2") || !int.TryParse(parts[3], NumberStyles.None, CultureInfo.InvariantCulture, out var padding))
        {
            throw new EnvelopeConfigurationException(
                $"'{token}' is not a column token of this version of EfEnvelope. If the model is a compiled one, run `dotnet ef dbcontext optimize` again.");
        }

        return new ColumnDeclaration(
            token,
            parts[^1],
            hasFormer ? [.. parts[5].Split(',').Select(Uri.UnescapeDataString)] : [],
            parts[1] switch { "t" or "a" => DeclaredScope.Tenant, "s" => DeclaredScope.Subject, _ => DeclaredScope.Global },
            parts[4].Length == 0 ? null : Uri.UnescapeDataString(parts[4]),
            parts[2].Contains('r', StringComparison.Ordinal),
            parts[1] == "a",
            parts[2].Contains('b', StringComparison.Ordinal),
            parts[2].Contains('t', StringComparison.Ordinal),
            padding);
    }
}
