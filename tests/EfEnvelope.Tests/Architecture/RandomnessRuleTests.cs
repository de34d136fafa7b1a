using System.Text.RegularExpressions;

namespace EfEnvelope.Tests.Architecture;

/// <summary>Randomness comes from the system's CSPRNG (G6): nonces and sessions by RandomSource, keys and names drawn directly; the compiler bans the rest.</summary>
public sealed partial class RandomnessRuleTests
{
    /// <summary>The folders that make keys, nonces and what stands in their place.</summary>
    private static readonly string[] s_folders = ["Cryptography", "Envelopes", "KeyManagement", "Keys", "Storage", "Writing"];

    /// <summary>Where those call the CSPRNG, and for what. A new place is a decision: nonces of the data path belong to RandomSource, which drops what was drawn before a snapshot.</summary>
    private static readonly Dictionary<string, string> s_direct = new(StringComparer.Ordinal)
    {
        ["Cryptography/RandomSource.cs"] = "nonces and session ids",
        ["KeyManagement/ContextBoundWrapper.cs"] = "the nonce of a wrapped key, one a call",
        ["KeyManagement/InMemoryKeyManagementService.cs"] = "a root key",
        ["KeyManagement/LocalKeyManagementService.cs"] = "a root key",
        ["KeyManagement/LocalRootKey.cs"] = "a data key",
        ["Keys/KeyRing.RowKeys.cs"] = "a row's key",
        ["Storage/CommandFrame.cs"] = "a placeholder",
        ["Storage/Ring/RelationalKeyRingStore.cs"] = "the ring's salt",
    };

    private static string Core => Path.Combine(RepositoryFolder.Path, "src", "EfEnvelope");

    [Fact]
    public void The_CSPRNG_is_called_where_it_is_meant_to_be()
        => Assert.Equal(s_direct.Keys.Order(StringComparer.Ordinal), Files().Where(f => s_folders.Contains(f.Name.Split('/')[0]) && Csprng().IsMatch(f.Text)).Select(f => f.Name).Order(StringComparer.Ordinal));

    [Fact]
    public void No_package_has_another_source_of_randomness()
        => Assert.DoesNotContain(
            Directory.EnumerateFiles(Path.Combine(RepositoryFolder.Path, "src"), "*.cs", SearchOption.AllDirectories),
            f => !IsGenerated(f) && OtherSource().IsMatch(File.ReadAllText(f)));

    [Fact]
    public void The_compiler_refuses_System_Random_in_the_core()
    {
        Assert.Contains(File.ReadLines(Path.Combine(Core, "BannedSymbols.txt")), l => l.StartsWith("T:System.Random;", StringComparison.Ordinal));
        var project = File.ReadAllText(Path.Combine(Core, "EfEnvelope.csproj"));
        Assert.Contains("Microsoft.CodeAnalysis.BannedApiAnalyzers", project, StringComparison.Ordinal);
        Assert.Contains("<AdditionalFiles Include=\"BannedSymbols.txt\" />", project, StringComparison.Ordinal);
        Assert.DoesNotContain("RS0030", project + File.ReadAllText(Path.Combine(RepositoryFolder.Path, ".editorconfig")), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("var x = Random.Shared.Next();")]
    [InlineData("new Random(1)")]
    [InlineData("System.Random random")]
    public void The_check_notices_another_source(string code) => Assert.Matches(OtherSource(), code);

    private static IEnumerable<(string Name, string Text)> Files()
        => Directory.EnumerateFiles(Core, "*.cs", SearchOption.AllDirectories).Where(f => !IsGenerated(f)).Select(f => (Path.GetRelativePath(Core, f).Replace('\\', '/'), File.ReadAllText(f)));

    private static bool IsGenerated(string path) => path.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal);

    [GeneratedRegex(@"RandomNumberGenerator\.|Sodium\.RandomBytes\(")]
    private static partial Regex Csprng();

    [GeneratedRegex(@"\bRandom\.Shared\b|\bnew Random\b|\bSystem\.Random\b|\bRandom random\b|XoshiroImpl|MersenneTwister|\bSecureRandom\b")]
    private static partial Regex OtherSource();
}
