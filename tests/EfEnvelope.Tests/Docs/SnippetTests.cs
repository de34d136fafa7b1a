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
    public void Every_link_leads_to_a_file()
        => Assert.Empty(Pages.SelectMany(page => Links().Matches(File.ReadAllText(page))
            .Select(l => l.Groups[1].Value)
            .Where(target => !target.StartsWith("http", StringComparison.Ordinal) && !File.Exists(Path.Combine(Path.GetDirectoryName(page)!, target)))
            .Select(target => $"{Path.GetFileName(page)}: {target}")));

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

    /// <summary>Without indentation and trailing comment.</summary>
    private static string Code(string line) => TrailingComment().Replace(line, "").Trim();

    [GeneratedRegex("```csharp\\r?\\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex Blocks();

    [GeneratedRegex(@"\]\(([^)#\s]+)")]
    private static partial Regex Links();

    [GeneratedRegex(@"(^|\s)//.*$")]
    private static partial Regex TrailingComment();
}
