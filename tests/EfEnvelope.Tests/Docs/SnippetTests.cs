using System.Text.RegularExpressions;
using EfEnvelope.Tests.Architecture;

namespace EfEnvelope.Tests.Docs;

/// <summary>What README.md and docs/ show is compiled, links to files that exist, and names every option.</summary>
public sealed partial class SnippetTests
{
    private static readonly string[] Pages = [Path.Combine(RepositoryFolder.Path, "README.md"), .. Directory.EnumerateFiles(Path.Combine(RepositoryFolder.Path, "docs"), "*.md")];

    [Fact]
    public void Every_line_of_code_that_is_shown_is_compiled()
    {
        var compiled = File.ReadLines(Path.Combine(RepositoryFolder.Path, "tests", "EfEnvelope.Tests", "Docs", "Snippets.cs")).Select(Code).ToHashSet(StringComparer.Ordinal);
        var shown = Pages.SelectMany(page => Blocks().Matches(File.ReadAllText(page)).SelectMany(b => b.Groups[1].Value.Split('\n'))).Select(Code).Where(line => line.Length > 0).ToList();
        Assert.True(shown.Count > 20);
        Assert.Equal([], shown.Except(compiled));
    }

    [Fact]
    public void Every_link_leads_to_a_file_and_to_a_heading_of_it()
    {
        var links = Pages.Concat(new[] { "CONTRIBUTING.md", "CHANGELOG.md" }.Select(name => Path.Combine(RepositoryFolder.Path, name)))
            .SelectMany(page => Links().Matches(File.ReadAllText(page)).Select(l => (Page: page, Target: l.Groups[1].Value, Anchor: l.Groups[2].Value)))
            .Where(l => !l.Target.StartsWith("http", StringComparison.Ordinal)).ToList();
        Assert.Contains(links, l => l.Anchor.Length > 0);
        Assert.Empty(links.Where(l => !Leads(l.Target.Length == 0 ? l.Page : Path.Combine(Path.GetDirectoryName(l.Page)!, l.Target), l.Anchor)).Select(l => $"{Path.GetFileName(l.Page)}: {l.Target}#{l.Anchor}"));

        static bool Leads(string path, string anchor)
            => File.Exists(path) && (anchor.Length == 0 || File.ReadLines(path).Any(line => line.StartsWith('#') && Anchor(line) == anchor));
    }

    [Fact]
    public void Every_option_is_in_the_table()
    {
        var page = File.ReadAllText(Path.Combine(RepositoryFolder.Path, "docs", "configuration.md"));
        string[] names =
        [
            .. typeof(EnvelopeOptions).GetProperties().Select(p => p.Name).Where(n => n is not "AwsKms" and not "LocalKms"),
            .. typeof(EfEnvelope.KeyManagement.AwsKmsOptions).GetProperties().Select(p => "AwsKms:" + p.Name), .. typeof(EfEnvelope.KeyManagement.LocalKmsOptions).GetProperties().Select(p => "LocalKms:" + p.Name),
        ];
        Assert.All(names, name => Assert.Contains($"`{name}`", page, StringComparison.Ordinal));
    }

    /// <summary>A heading's anchor, as the hosts of such pages make it: lower case, dashes for spaces, no other punctuation.</summary>
    private static string Anchor(string heading)
        => string.Concat(heading.TrimStart('#').Trim().ToLowerInvariant().Where(c => char.IsLetterOrDigit(c) || c is ' ' or '-' or '_').Select(c => c == ' ' ? '-' : c));

    /// <summary>Without indentation and trailing comment.</summary>
    private static string Code(string line) => TrailingComment().Replace(line, "").Trim();

    [GeneratedRegex("```csharp\\r?\\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex Blocks();

    [GeneratedRegex(@"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")]
    private static partial Regex Links();

    [GeneratedRegex(@"(^|\s)//.*$")]
    private static partial Regex TrailingComment();
}
