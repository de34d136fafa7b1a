namespace EfEnvelope.Tests.Architecture;

/// <summary>docs/errors.md names every error that a user can meet.</summary>
public sealed class DocumentedErrorTests
{
    [Fact]
    public void Every_exception_is_in_the_table()
    {
        var text = File.ReadAllText(Path.Combine(RepositoryFolder.Path, "docs", "errors.md"));
        var types = typeof(EnvelopeEncryptionException).Assembly.GetExportedTypes().Where(t => t.IsSubclassOf(typeof(Exception)) && !t.IsAbstract).ToList();
        Assert.True(types.Count >= 10);
        Assert.All(types, t => Assert.Contains($"| `{t.Name}` |", text, StringComparison.Ordinal));
        Assert.All(types, t => Assert.True(t.IsSubclassOf(typeof(EnvelopeEncryptionException)) && t.IsSealed, t.Name));
    }
}
