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
    private const int MaxBytes = 1024;

    public static string ForTenant(object value) => Checked("tenant:", ScopeValue.Format(value));

    public static string ForSubject(string name, object value) => Checked($"subject:{name}/", ScopeValue.Format(value));

    public static string ForRow(Guid rowId, string parentScope) => $"row:{rowId:D}@{parentScope}";

    /// <summary>All rows under a scope, in reports: <c>row:*@{parent}</c>. No key has it.</summary>
    public static string ForAllRows(string parentScope) => $"row:*@{parentScope}";

    public static ScopeKind KindOf(string scope)
        => scope.StartsWith("row:", StringComparison.Ordinal) ? ScopeKind.Row
            : scope.StartsWith("tenant:", StringComparison.Ordinal) ? ScopeKind.Tenant
            : scope.StartsWith("subject:", StringComparison.Ordinal) ? ScopeKind.Subject
            : ScopeKind.Global;

    /// <summary>The parent of a row scope; any other scope itself.</summary>
    public static string ParentOf(string scope)
        => KindOf(scope) == ScopeKind.Row && scope.IndexOf('@', StringComparison.Ordinal) is > 0 and var at ? scope[(at + 1)..] : scope;

    private static string Checked(string prefix, string value)
        => Encoding.UTF8.GetByteCount(value) is >= 1 and <= MaxBytes
            ? prefix + value
            : throw new MissingScopeException($"A tenant or subject value must have 1 to {MaxBytes} bytes of UTF-8; this one is empty or longer. Nothing was written.");
}
