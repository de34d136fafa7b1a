using System.Text;
using EfEnvelope.Envelopes;

namespace EfEnvelope.Keys;

/// <summary>Kind of a scope.</summary>
internal enum ScopeKind
{
    Global,
    Tenant,
    Subject,
    Row,
}

/// <summary>Builds and reads scopes (FORMAT.md, Keys): <c>global</c>, <c>tenant:42</c>, <c>subject:customer/42</c>, <c>row:{id}@{parent}</c>.</summary>
internal static class KeyScope
{
    public const string Global = "global";

    /// <summary>Stands for a parent that is not known; no scope is spelt so.</summary>
    public const string Any = "*";

    private const string AllRows = "row:*@";
    private const int MaxBytes = EnvelopeBinding.MaxScopeBytes;

    /// <summary>Of a row's scope before its parent's: the row id, and the two signs around it.</summary>
    private const int RowPrefixBytes = 4 + 36 + 1;

    private static readonly UTF8Encoding StrictUtf8 = new(false, true);

    public static string ForTenant(object value) => Checked("tenant:", ScopeValue.Format(value));

    public static string ForSubject(string name, object value) => Checked($"subject:{name}/", ScopeValue.Format(value));

    public static string ForRow(Guid rowId, string parentScope) => $"row:{rowId:D}@{parentScope}";

    /// <summary>All rows under a scope, in reports and for <see cref="Matches"/>: <c>row:*@{parent}</c>. No key has it.</summary>
    public static string ForAllRows(string parentScope) => AllRows + parentScope;

    /// <summary>Whether a key's scope is the expected one; or, where only a part of that is known, agrees with it: <c>row:*@{parent}</c> is any row of the parent, <c>row:{id}@*</c> that row under whatever parent.</summary>
    public static bool Matches(string scope, string expected)
        => string.Equals(scope, expected, StringComparison.Ordinal)
            || (KindOf(scope) == ScopeKind.Row && scope.Length > RowPrefixBytes && (
                expected.StartsWith(AllRows, StringComparison.Ordinal) ? scope.AsSpan(RowPrefixBytes).SequenceEqual(expected.AsSpan(AllRows.Length))
                : expected.Length == RowPrefixBytes + Any.Length && expected.EndsWith('@' + Any, StringComparison.Ordinal) && scope.AsSpan(0, RowPrefixBytes).SequenceEqual(expected.AsSpan(0, RowPrefixBytes))));

    public static ScopeKind KindOf(string scope)
        => scope.StartsWith("row:", StringComparison.Ordinal) ? ScopeKind.Row
            : scope.StartsWith("tenant:", StringComparison.Ordinal) ? ScopeKind.Tenant
            : scope.StartsWith("subject:", StringComparison.Ordinal) ? ScopeKind.Subject
            : ScopeKind.Global;

    /// <summary>The parent of a row scope; any other scope itself.</summary>
    public static string ParentOf(string scope)
        => KindOf(scope) == ScopeKind.Row && scope.IndexOf('@', StringComparison.Ordinal) is > 0 and var at ? scope[(at + 1)..] : scope;

    /// <summary>Whether values can be bound to the scope, or to rows under it: its whole text has at most 1,024 bytes of UTF-8, and is valid Unicode.</summary>
    public static bool Fits(string scope, bool perRow)
    {
        try
        {
            return StrictUtf8.GetByteCount(scope) <= MaxBytes - (perRow ? RowPrefixBytes : 0);
        }
        catch (EncoderFallbackException)
        {
            return false;
        }
    }

    private static string Checked(string prefix, string value)
        => value.Length > 0 && Fits(prefix + value, perRow: false)
            ? prefix + value
            : throw new MissingScopeException($"A tenant or subject must be valid Unicode of at least 1 byte of UTF-8, and with its '{prefix}' of at most {MaxBytes}; this one is not. Nothing was written.");
}
