using System.Text.RegularExpressions;

namespace EfEnvelope.Tests.Architecture;

/// <summary>Keeps what may import what: a folder's files name only the folders below it.</summary>
public sealed partial class ImportRuleTests
{
    private static readonly Dictionary<string, string[]> Allowed = new(StringComparer.Ordinal)
    {
        ["Errors"] = ["Keys"],
        [Leaf] = [],
        ["Cryptography"] = [],
        ["Envelopes"] = ["Cryptography"],
        ["KeyManagement"] = ["Cryptography"],
        ["Keys"] = ["KeyManagement", "Envelopes", "Cryptography"],
        ["Metadata"] = ["Envelopes"],
        ["Scoping"] = ["Keys", "Metadata", "Envelopes", "Storage"],
        ["Storage"] = ["Scoping", "Keys", "Envelopes", "Cryptography", "Metadata", "KeyManagement"],
        ["Conventions"] = ["Storage", "Metadata", "Envelopes"],
        ["Writing"] = ["Storage", "Scoping", "Keys", "Envelopes", "Metadata"],
        ["Reading"] = ["Storage", "Scoping", "Keys", "Envelopes", "Metadata"],
        ["Querying"] = ["Storage", "Scoping", "Keys", "Envelopes", "Metadata"],
        ["Census"] = ["Storage", "Keys", "Metadata", "Envelopes"],
        ["Proof"] = ["Census", "Storage", "Keys", "Envelopes", "Cryptography", "Metadata"],
        ["Reencryption"] = ["Proof", "Census", "Storage", "Scoping", "Keys", "Envelopes", "Cryptography", "Metadata"],
        ["Lifecycle"] = ["Proof", "Census", "Reencryption", "Storage", "Keys", "KeyManagement", "Cryptography", "Envelopes", "Metadata"],

        // A schedule around what a user calls himself, and no more.
        ["Hosting"] = [],
    };

    /// <summary>Events and measures: imports nothing of the library, and every folder above the cipher tells through it.</summary>
    private const string Leaf = "Diagnostics";

    private static readonly string[] NoEntityFramework = ["Cryptography", "Envelopes", "KeyManagement", "Keys"];

    [Fact]
    public void No_folder_imports_what_it_may_not() => Assert.Empty(SourceFiles().SelectMany(f => Violations(f.Folder, f.Path, File.ReadAllText(f.Path))));

    [Fact]
    public void The_check_notices_a_violation()
    {
        Assert.Single(Violations("Cryptography", "x.cs", "using EfEnvelope.Keys;"));
        Assert.Single(Violations("Keys", "x.cs", "using Microsoft.EntityFrameworkCore;"));
        Assert.Single(Violations("Metadata", "x.cs", "var x = EfEnvelope.Storage.EnvelopeSession.Of(c);"));
        Assert.Empty(Violations("Writing", "x.cs", "using EfEnvelope.Storage.Ring;"));
    }

    [Fact]
    public void Every_folder_has_a_rule()
        => Assert.Empty(SourceFiles().Select(f => f.Folder).Where(f => f is not ("" or "Infrastructure")).Distinct().Except(Allowed.Keys));

    private static IEnumerable<string> Violations(string folder, string path, string text)
    {
        if (folder is "Infrastructure")
        {
            yield break;
        }

        string[] allowed = folder.Length == 0 ? [] : Allowed[folder];
        foreach (var import in Mentions().Matches(text).Select(m => m.Groups[1].Value).Distinct())
        {
            if (import != folder && !(import == Leaf && folder != "Cryptography") && Allowed.ContainsKey(import) && !allowed.Contains(import))
            {
                yield return $"{Path.GetFileName(path)} in {folder} imports {import}";
            }
        }

        if (NoEntityFramework.Contains(folder) && text.Contains("Microsoft.EntityFrameworkCore", StringComparison.Ordinal))
        {
            yield return $"{Path.GetFileName(path)} in {folder} references EF";
        }
    }

    private static IEnumerable<(string Folder, string Path)> SourceFiles()
    {
        var root = Path.Combine(RepositoryFolder.Path, "src", "EfEnvelope");
        return Directory.EnumerateFiles(root, "*.cs", SearchOption.AllDirectories)
            .Where(f => !f.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal))
            .Select(f => (Path.GetRelativePath(root, f).Split(Path.DirectorySeparatorChar) is { Length: > 1 } parts ? parts[0] : "", f));
    }

    [GeneratedRegex(@"\bEfEnvelope\.([A-Z][A-Za-z]+)\b")]
    private static partial Regex Mentions();
}
