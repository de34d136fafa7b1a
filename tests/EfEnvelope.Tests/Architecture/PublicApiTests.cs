namespace EfEnvelope.Tests.Architecture;

/// <summary>Every package lists its public API; the build compares the lists with the code.</summary>
public sealed class PublicApiTests
{
    [Fact]
    public void Every_package_lists_its_public_members()
    {
        var projects = Directory.EnumerateFiles(Path.Combine(RepositoryFolder.Path, "src"), "*.csproj", SearchOption.AllDirectories).Where(p => !p.Contains(".Analyzers", StringComparison.Ordinal)).ToList();
        Assert.True(projects.Count >= 2);
        Assert.All(projects, project =>
        {
            string[] lines = [.. new[] { "Shipped", "Unshipped" }.SelectMany(kind => File.ReadAllLines(Path.Combine(Path.GetDirectoryName(project)!, $"PublicAPI.{kind}.txt")))];
            Assert.True(lines.Any(l => !l.StartsWith('#') && l.Length > 0), project);
        });
    }
}
