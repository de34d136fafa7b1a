namespace EfEnvelope.Tests.Architecture;

/// <summary>The repository's root. Found from the running test, not from the compiler's paths: a deterministic build maps those away.</summary>
internal static class RepositoryFolder
{
    public static string Path { get; } = Find();

    private static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(System.IO.Path.Combine(folder.FullName, "EfEnvelope.sln")))
            {
                return folder.FullName;
            }
        }

        throw new DirectoryNotFoundException("The repository's root was not found above the test's folder.");
    }
}
